"""What runs at the other end, streamed there and never installed; half of it serves here as well.

Standard library only, in the syntax of Python 3.8.
"""
