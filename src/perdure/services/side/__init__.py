"""What of a service runs on its target, streamed there and never installed.

Standard library only, Python 3.9 or newer: see `perdure.hosts.side.modules`.
"""
