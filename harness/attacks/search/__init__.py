"""The searches that attacks are made of, the criterion of their success, and which examples still stand.

Every search takes what it raises as a function; knows no attack by name.
"""
