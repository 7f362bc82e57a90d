"""Hugging Face's own batch encoding: `batch_encode.py TOKENIZER DOCUMENTS OUTPUT END_OF_TEXT`.

Writes the ids of each document, each followed by the end-of-text token, as the token shards have
them, and prints the seconds of encoding alone.
"""

import json
import sys
import time
from pathlib import Path

import numpy
from tokenizers import Tokenizer


def main(tokenizer_file: str, documents: str, output: str, end_of_text: str) -> None:
    tokenizer = Tokenizer.from_file(tokenizer_file)
    lines = Path(documents).read_text(encoding='utf-8').split('\n')
    texts = [json.loads(line)['text'] for line in lines if line]
    tokenizer.encode_batch_fast(texts[:8], add_special_tokens=False)
    began = time.perf_counter()
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    seconds = time.perf_counter() - began
    end = tokenizer.token_to_id(end_of_text)
    ids = [numpy.array([*encoding.ids, end], dtype=numpy.uint16) for encoding in encodings]
    numpy.concatenate(ids).tofile(output)
    print(json.dumps({'seconds': seconds}))


if __name__ == '__main__':
    main(*sys.argv[1:])
