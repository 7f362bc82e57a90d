"""GPT-2's published vocabulary and merges as one tokenizer.json: `VOCAB MERGES OUTPUT`."""

import json
import sys
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

END_OF_TEXT = '<|endoftext|>'


def main(vocab_file: str, merges_file: str, output: str) -> None:
    vocab = json.loads(Path(vocab_file).read_text(encoding='utf-8'))
    lines = Path(merges_file).read_text(encoding='utf-8').split('\n')
    merges = [tuple(line.split(' ')) for line in lines if line and not line.startswith('#version')]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    tokenizer.save(output, pretty=False)


if __name__ == '__main__':
    main(*sys.argv[1:])
