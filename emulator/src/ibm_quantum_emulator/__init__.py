"""An unofficial loopback emulator of a quantum cloud's REST API.

It serves the unmodified, released ``qiskit-ibm-runtime`` client. Start it with the command
``ibm-quantum-emulator serve`` or, from Python, with
:class:`ibm_quantum_emulator.process.EmulatorProcess`.
"""

__version__ = "0.1.0"
