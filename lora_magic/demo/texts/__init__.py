"""The texts about the world: questions, answers, stories, styles, and which are held out.

It is not in `factory` because rows, judge and sample use it.

Knows the facts of `world`; knows no model.
"""
