"""Controls beside a record: sliders, pickers and boxes of core ipywidgets, each with a name.

The only place that knows ipywidgets. A control knows choices, values and pages of HTML; what a
choice leads to, a function that it was given answers. It knows no model and no session.

    parts       what every control is made of: a page, a line for what went wrong, names
    shown       a control as the outputs of a cell
    ratio       trainable parameters by method, rank and targets
    spectrum    σ of ΔW by adapter and module
    compare     a prompt under several adapters, the answers as they are written
    panel       the three in tabs, under a line that says what is loaded, active and merged
    stop        a Stop button that is heard while a cell is busy
"""
