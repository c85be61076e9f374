"""Records and plain numbers in, a display out. Knows no model and no session.

    text        what a terminal or a browser may safely show; plain-text tables
    html        elements whose text is escaped
    style       one palette and the few inline styles
    svg, axis   drawing, scales and ticks
    table       HTML tables with caption, scope and a button that copies them
    curve       a loss curve
    panels      what a spectrum's chart shows; spectrum_svg and spectrum_plotly draw it
    receipt     one line, more on demand; the reports of a merge and of a check
    and one file per result: spectrum, comparison, scores, classification, compression, ranks,
    ratio, training, sweep, evaluation, votes, board, status; record for the embedded model's own
    controls    sliders, pickers and boxes; the only ones that know ipywidgets

Every `bundle(...)` returns a MIME bundle: text/plain, text/html, and for charts the plotly type.
A view takes the typed record, whose type it imports for type checkers only.
"""
