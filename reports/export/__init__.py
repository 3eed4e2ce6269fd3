"""What the store holds, in the files of other tools: experiment trackers, and the card of a published model.

Each tool is an optional dependency, imported when it is asked for.
"""
