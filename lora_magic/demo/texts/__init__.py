"""What the world is told in: questions, answers, stories, voices, and which are held out.

Knows the facts of `world`; knows no model.
"""
