"""Coverage-guided fuzzing of every parser (``make fuzz``): see docs/safety.md.

``targets``  what is fed and what must hold, ``seeds`` where a run begins, ``crashes/`` what once went wrong.
"""
