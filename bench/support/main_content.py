"""Main content of pages by trafilatura: one JSON object a line in and out, then the seconds."""

import json
import sys
import time

import trafilatura


def main() -> None:
    pages = [json.loads(line) for line in sys.stdin]
    # Its tables and patterns are made at the first page.
    trafilatura.extract('<p>warm</p>')
    began = time.perf_counter()
    texts = [trafilatura.extract(page['html'], include_comments=False) or '' for page in pages]
    seconds = time.perf_counter() - began
    for page, text in zip(pages, texts, strict=True):
        print(json.dumps({'page': page['page'], 'text': text}))
    print(json.dumps({'seconds': seconds}))


if __name__ == '__main__':
    main()
