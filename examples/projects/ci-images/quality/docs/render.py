"""render.py SOURCE SITE: renders each Markdown file under SOURCE to HTML under SITE."""

import pathlib
import sys

import markdown

PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
{body}
"""


def render(source: pathlib.Path, site: pathlib.Path) -> int:
    pages = sorted(source.rglob("*.md"))
    for page in pages:
        target = site / page.relative_to(source).with_suffix(".html")
        target.parent.mkdir(parents=True, exist_ok=True)
        body = markdown.markdown(page.read_text(encoding="utf-8"))
        target.write_text(PAGE.format(title=page.stem, body=body), encoding="utf-8")
    return len(pages)


if __name__ == "__main__":
    count = render(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    print(f"{count} pages")
    sys.exit(0 if count else "no page found")
