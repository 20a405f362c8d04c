"""Every decision of the package, as pure functions and small state machines.

Nothing in here waits, reads a clock, draws a random number or touches a file or socket: `now` and randomness are
arguments, and what is to be done is returned to the caller, who awaits.
"""
