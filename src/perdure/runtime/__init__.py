"""What runs beside the user's training.

Standard library and xxhash; numpy and torch only if the user has them; Python 3.9 or newer.
"""
