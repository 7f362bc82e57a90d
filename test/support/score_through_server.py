"""Scores and generates through a completions server, exactly as lm-evaluation-harness does.

Usage: python score_through_server.py URL TOKENIZER EXPECTED. Prints one JSON object.
"""

import json
import os
import sys

from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI


def main(url: str, tokenizer: str, expected_file: str) -> None:
    with open(expected_file, encoding='utf-8') as lines:
        expected = json.load(lines)
    scores = {}
    for concurrent in (1, 3):
        model = LocalCompletionsAPI(
            base_url=f'{url}/v1/completions',
            model='tiny',
            tokenizer=tokenizer,
            tokenizer_backend='huggingface',
            num_concurrent=concurrent,
            max_length=96,
            batch_size=2,
            max_retries=1,
        )
        ids, greedy = expected['scored']['ids'], expected['prompt']['greedy']
        prompt = expected['prompt']['ids']
        requests = [(('', ''), ids[:cut], ids[cut:]) for cut in (1, 4, 9)]
        requests.append((('', ''), prompt, greedy[:12]))
        scores[concurrent] = model._loglikelihood_tokens(requests)
    # As long as the harness ever sends: one less than the context.
    long = (ids * 10)[:95]
    longest = model._loglikelihood_tokens([(('', ''), long[:1], long[1:])])
    generated = model.generate_until(
        [
            Instance(
                request_type='generate_until',
                doc={},
                arguments=(
                    '<|bos|>' + expected['prompt']['text'],
                    {'until': ['state'], 'max_gen_toks': 40},
                ),
                idx=0,
            )
        ]
    )
    answer = {'alone': scores[1], 'together': scores[3], 'long': longest, 'text': generated}
    print(json.dumps(answer))


if __name__ == '__main__':
    os.environ.setdefault('HF_HUB_OFFLINE', '1')
    main(*sys.argv[1:4])
