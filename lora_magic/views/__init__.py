"""Plain rows and numbers in, a display out. Knows no model and no session.

    text        what a terminal or a browser may safely be given; plain-text tables
    numbers     counts, sizes and seconds as people read them
    html        elements as escaped text
    style       one palette and the few inline styles
    svg, axis   drawing, and where the ticks stand
    table       HTML tables with caption and scope
    curve       a loss curve
    panels      the spectra of many modules, gathered by projection
    and one file per result: spectrum, comparison, compression, ratio, training, receipt, merge,
    status, verification
    controls    sliders, pickers and boxes, which alone know ipywidgets

Every `bundle(...)` returns a MIME bundle: text/plain, text/html, and for charts the plotly type.
"""
