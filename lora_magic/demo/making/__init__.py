"""What the weights are made with: tokenizer, packed rows, the plan of a run.

Knows the corpus of `texts`; answers no question.
"""
