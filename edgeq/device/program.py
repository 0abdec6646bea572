"""The agent's program, called for one answer instead of as a server: `edgeq-agent --kernels`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq._errors import DeviceError

from ._shell import Reply, last_line

KERNELS = "kernels.txt"  # the table of kernels, which an agent reads when it starts


@dataclass(frozen=True)
class AgentProgram:
    """On one machine.

    name   of the device
    call   runs the program with arguments, for at most so many seconds
    keep   stores a table of kernels where the agents of this machine read it; where that is
    close  the connection
    """

    name: str
    call: Callable[[list[str], float], Reply]
    keep: Callable[[str], str]
    close: Callable[[], None]

    def ask(self, *arguments: str, timeout_s: float = 60.0) -> str:
        """What it prints; raises DeviceError with its own words when it refuses."""
        reply = self.call(list(arguments), timeout_s)
        if reply.code:
            raise DeviceError(f"{self.name}: {last_line(reply.err) or f'the agent ended with exit code {reply.code}'}")
        return reply.out
