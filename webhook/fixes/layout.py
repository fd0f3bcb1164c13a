"""How a document is laid out: its indentation, and what holds each of its collections."""

from collections.abc import Iterator

from webhook.fixes.nodes import Collection, Mapping, Sequence, TextNode

Held = tuple[Collection, str | int]


class Layout:
    """The indentation of the first nested mapping and list, and the holder of every collection."""

    def __init__(self, root: TextNode, text: str) -> None:
        self._text = text
        self.holders: dict[int, Held] = {}
        self.step = 0
        self.list_step: int | None = None
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Mapping | Sequence):
                for name, child in _children(node):
                    if isinstance(child, Mapping | Sequence):
                        self.holders[id(child)] = node, name
                        self._measure(node, child)
                        waiting.append(child)

    def _measure(self, parent: Collection, child: Collection) -> None:
        if parent.is_flow or child.is_flow or not isinstance(parent, Mapping):
            return
        if parent.first is None or child.anchor:
            return
        indentation = self._column(child.start) - self._column(parent.first.start)
        if isinstance(child, Sequence) and self.list_step is None:
            self.list_step = indentation
        elif isinstance(child, Mapping) and not self.step:
            self.step = indentation

    def _column(self, offset: int) -> int:
        return offset - self._text.rfind("\n", 0, offset) - 1


def _children(node: Collection) -> Iterator[tuple[str | int, TextNode]]:
    if isinstance(node, Mapping):
        for name, member in node.members.items():
            yield name, member.value
    else:
        yield from enumerate(node.items)
