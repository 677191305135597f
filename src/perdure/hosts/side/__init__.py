"""The side: what of perdure runs on another host, streamed there and never installed.

Standard library only, in the syntax of Python 3.9: see `modules`.
"""
