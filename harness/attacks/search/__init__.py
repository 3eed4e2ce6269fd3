"""The searches that attacks are made of, who says what fools the model, and which examples still stand.

Every search takes what it raises as a function; knows no attack by name.
"""
