"""datatrove over a folder of JSON lines: `python datatrove_peer.py CONFIG`.

In an environment of its own. Gopher's quality and repetition filters, MinHash of 14 bands of 8 over
word 5-grams, and one tokenizer. Prints the seconds of each step, with imports and the loading of
word tokenizers apart, and what became of each document.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.logging import logger
from datatrove.utils.word_tokenizers import load_word_tokenizer


def writer(folder: Path) -> JsonlWriter:
    return JsonlWriter(str(folder), output_filename='${rank}.jsonl', compression=None)


def reader(folder: Path) -> JsonlReader:
    return JsonlReader(str(folder), glob_pattern='*.jsonl')


def main(config: dict[str, Any]) -> dict[str, Any]:
    """Runs the steps one after the other, each over as many processes as there are workers."""
    logger.remove()
    out = Path(config['output'])
    workers = config['workers']
    minhash = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    language = config['language']
    # The Chinese one holds a module, which datatrove then cannot copy; its time is not compared.
    if config['filters']:
        load_word_tokenizer(language).word_tokenize('Loaded before the clock starts.')
    seconds: dict[str, float] = {}

    def run(name: str, tasks: int, *pipeline: PipelineStep) -> None:
        began = time.perf_counter()
        LocalPipelineExecutor(
            list(pipeline),
            tasks=tasks,
            workers=min(workers, tasks),
            logging_dir=str(out / 'logs' / name),
            start_method='fork',
        ).run()
        seconds[name] = time.perf_counter() - began

    source = Path(config['input'])
    if config['filters']:
        run(
            'filters',
            workers,
            reader(source),
            GopherRepetitionFilter(
                dup_n_grams=tuple((length, share) for length, share in config['repeatedGrams']),
                exclusion_writer=writer(out / 'repetition'),
            ),
            GopherQualityFilter(exclusion_writer=writer(out / 'quality')),
            writer(out / 'filtered'),
        )
        source = out / 'filtered'
    signatures, buckets, removed = out / 'signatures', out / 'buckets', out / 'removed'
    run(
        'signatures',
        workers,
        reader(source),
        MinhashDedupSignature(str(signatures), config=minhash, language=language),
    )
    run(
        'buckets',
        minhash.num_buckets,
        MinhashDedupBuckets(str(signatures), str(buckets), config=minhash),
    )
    run(
        'clusters',
        1,
        MinhashDedupCluster(
            str(buckets), str(removed), config=minhash, save_cluster_id=True, save_cluster_size=True
        ),
    )
    last: list[PipelineStep] = [
        reader(source),
        MinhashDedupFilter(
            str(removed), exclusion_writer=writer(out / 'duplicates'), load_cluster_ids=True
        ),
        writer(out / 'kept'),
    ]
    if config['tokenizer'] is not None:
        last.append(
            DocumentTokenizer(
                str(out / 'tokens'),
                config['tokenizer'],
                eos_token='<|endoftext|>',
                shuffle_documents=False,
                batch_size=1000,
            )
        )
    run('tokens', workers, *last)
    return {
        'seconds': seconds,
        'decisions': list(decisions(out)),
        'numTokens': sum(file.stat().st_size for file in (out / 'tokens').glob('*.ds')) // 2,
    }


def decisions(out: Path) -> list[list[Any]]:
    """The id of each document, what became of it, and its cluster of near duplicates."""
    found: list[list[Any]] = []
    for folder in ('repetition', 'quality', 'duplicates', 'kept'):
        for file in sorted((out / folder).glob('*.jsonl')):
            with open(file, encoding='utf-8') as lines:
                for line in lines:
                    document = json.loads(line)
                    metadata = document.get('metadata', {})
                    reason = metadata.get('filter_reason', folder)
                    cluster = metadata.get('minhash_cluster_id', -1)
                    found.append([document['id'], reason, cluster])
    return found


if __name__ == '__main__':
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text(encoding='utf-8')))))
