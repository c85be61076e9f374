"""Controls beside a record: sliders, pickers and boxes of core ipywidgets, each with a name.

The only place that knows ipywidgets. A control knows choices, values and pages of HTML; callbacks
compute the results. It knows no model and no session.

    widgets     the parts of every control: a page, a line for errors, names; and the tabs
    outputs     a control as the outputs of a cell; a Stop button that works while a cell is busy
    ratio       trainable parameters by method, rank and targets
    votes       two answers without names, and a button for each vote
    compare     a prompt under several adapters, the answers while they are generated
    board       the column and the direction by which a table is sorted
    plan        model, method and settings, and what they cost
"""
