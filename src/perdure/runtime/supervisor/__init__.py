"""The supervisor: runs the training, tells it of interruptions, decides what an exit means.

Standard library only, and little of it: the child is to be there within 50 ms. `NamedTuple` stands
where the rest of the house has frozen dataclasses, because `dataclasses` brings in `inspect`.
"""
