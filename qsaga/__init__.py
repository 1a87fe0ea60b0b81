"""qsaga: durable hybrid quantum-classical jobs on Temporal.

Every job ends with an answer, on hardware, a simulator or a classical solver,
inside its time and money budget, and the result says where it came from.
"""
