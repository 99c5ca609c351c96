"""How a long job says where it is; by default to nobody."""


class Progress:
    """What a search calls while it works. This one is silent; the command line draws one on standard error.

    A job has named phases, such as `"networks"` and `"baselines"`. Each is started with its total, advanced once a
    finished unit, and finished; phases may overlap.

    Example:
        >>> progress = Progress()
        >>> progress.start("networks", total=2)
        >>> for trial in ("0000", "0001"):
        ...     progress.advance("networks", f"trial {trial}: 0.47")
        >>> progress.finish("networks")
    """

    def note(self, text: str) -> None:
        """Say something once: what was guessed, dropped, or failed."""

    def start(self, phase: str, total: int | None) -> None:
        """Begin a phase of `total` units; None when their number is not known."""

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Report `amount` finished units of a phase; `text` says what the last of them was."""

    def keep(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Report units that an earlier run finished: they say nothing about the pace of this one."""
        self.advance(phase, text, amount)

    def finish(self, phase: str) -> None:
        """End a phase, complete or not."""
