"""Draw the parts of tfopt, floor above floor, with the imports between them.

    python docs/images/architecture.py    # writes docs/images/architecture.svg

Floors and imports are read as `tests/test_imports.py` reads them. An import that another path of arrows implies is not
drawn, nor are those of the small helpers in the cellar, which everything uses.
"""

import runpy
from pathlib import Path

HERE = Path(__file__).parent
FLOORS = ("small helpers, private names", "pieces", "training", "experiments", "faces")
WIDTH, HEIGHT, BOX = 960, 92, (94, 30)


def imports() -> tuple[list[list[str]], dict[str, set[str]]]:
    """Return the floors from the bottom up, and which parts each part imports."""
    test = runpy.run_path(str(HERE.parents[1] / "tests" / "test_imports.py"))
    left_out = ("__main__",)
    floors = [[p for p in floor.split() if p in test["PARTS"] and p not in left_out] for floor in test["FLOORS"]]
    drawn = {part for floor in floors[1:] for part in floor}
    found: dict[str, set[str]] = {part: set() for part in drawn}
    for file, tree in test["trees"]().items():
        own = test["part_of"](test["name_of"](file))
        for _, module in test["imported"](tree):
            other = test["part_of"](module)
            if module.startswith("tfopt.") and {own, other} <= drawn and (own, other) not in test["EXCEPTIONS"]:
                found[own].add(other)
    return floors, {part: others - {part} for part, others in found.items()}


def reduced(found: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that no longer path implies."""

    def below(part: str) -> set[str]:
        return found[part].union(*(below(other) for other in found[part]))

    return sorted(
        (part, other)
        for part, others in found.items()
        for other in others
        if not any(other in below(between) for between in others)
    )


def picture() -> str:
    """Return the drawing as SVG."""
    floors, found = imports()
    places: dict[str, tuple[float, float]] = {}
    lines = []
    for level, (title, floor) in enumerate(zip(FLOORS, floors, strict=True)):
        y = (len(floors) - 1 - level) * HEIGHT + 8
        lines.append(f'<rect class="floor" x="4" y="{y}" width="{WIDTH - 8}" height="{HEIGHT - 12}" rx="8"/>')
        lines.append(f'<text class="title" x="16" y="{y + 18}">{title}</text>')
        if level == 0:
            lines.append(f'<text class="name" x="{WIDTH / 2:.0f}" y="{y + 52}">{" · ".join(floor)}</text>')
            continue
        step = (WIDTH - 24) / len(floor)
        for place, part in enumerate(floor):
            places[part] = (12 + (place + 0.5) * step, y + 48)
    for upper, lower in reduced(found):
        (x1, y1), (x2, y2) = places[upper], places[lower]
        if y1 == y2:  # on one floor: an arc below the boxes
            middle, low = (x1 + x2) / 2, y1 + 44
            path = f"M{x1:.0f} {y1 + 15:.0f} Q{middle:.0f} {low:.0f} {x2:.0f} {y2 + 17:.0f}"
        else:
            path = f"M{x1:.0f} {y1 + 15:.0f} C{x1:.0f} {y1 + 60:.0f} {x2:.0f} {y2 - 60:.0f} {x2:.0f} {y2 - 17:.0f}"
        lines.append(f'<path class="import" d="{path}" marker-end="url(#head)"/>')
    for part, (x, y) in places.items():
        corner = f'x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}"'
        lines.append(f'<rect class="part" {corner} width="{BOX[0]}" height="{BOX[1]}" rx="5"/>')
        name = part.replace("learning_rate_finder", "rate finder")
        lines.append(f'<text class="name" x="{x:.0f}" y="{y + 4:.0f}">{name}</text>')
    height = len(floors) * HEIGHT
    style = (
        "text{font:12px sans-serif;fill:#1f2937}.title{font-weight:600;fill:#6b7280}.name{text-anchor:middle}"
        ".floor{fill:#f3f4f6}.part{fill:#fff;stroke:#6b7280}.import{fill:none;stroke:#2563eb;opacity:.6}"
    )
    head = (
        '<marker id="head" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0L6 3L0 6z" fill="#2563eb"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="The floors of tfopt and the imports between its parts">'
        f"<style>{style}</style><defs>{head}</defs>\n" + "\n".join(lines) + "\n</svg>\n"
    )


if __name__ == "__main__":
    (HERE / "architecture.svg").write_text(picture(), encoding="utf-8")
