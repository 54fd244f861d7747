"""What a program is told about a lease while it holds it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    OnNotice = Callable[["Notice"], None]
    """Called once with each notice."""

MOST_KEPT = 64


class Notice:
    """A word to the holder; the lease goes on.

    ``code`` is ``finish`` (somebody asks the holder to come to an end by itself) or ``idle`` (the
    seat was not used for long and will be taken back), or one that this version does not know.
    ``text`` says why, ``by`` who asks; both may be empty. ``fields`` is all of it, as it came.
    """

    __slots__ = ("by", "code", "fields", "text")

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields
        self.code = _text(fields, "code")
        self.text = _text(fields, "text")
        self.by = _text(fields, "by")

    def __repr__(self) -> str:
        return f"<lessor.Notice {self.code}: {self.text}>"


class NoticeBoard:
    """The notices of one lease. Each renewal brings the last one again: that is no second one."""

    def __init__(self, lease: str, on_notice: OnNotice | None = None) -> None:
        self.notices: list[Notice] = []
        """What came, oldest first, at most ``MOST_KEPT``."""
        self._lease = lease
        self._on_notice = on_notice
        self._seen = ""

    def take(self, found: Iterable[object]) -> None:
        """What a renewal, a watch or a stream brought, be it for other leases."""
        for fields in found:
            if not isinstance(fields, dict) or fields.get("lease") != self._lease:
                continue
            mark = _text(fields, "id")
            if mark and mark == self._seen:
                continue
            self._seen = mark
            self._add(Notice(fields))

    @property
    def seen(self) -> str:
        """The id of the last one."""
        return self._seen

    def _add(self, notice: Notice) -> None:
        self.notices.append(notice)
        del self.notices[:-MOST_KEPT]
        if self._on_notice is None:
            return
        try:
            self._on_notice(notice)
        except Exception:  # it is the caller's own code, and its trouble must not end the lease
            import logging  # noqa: PLC0415 - nobody else needs it

            logging.getLogger("lessor").exception("on_notice failed")


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
