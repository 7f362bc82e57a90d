"""Our tasks for lm-evaluation-harness: bits a byte, questions answered, preferences ranked.

A chat model is asked through its chat template; a base model as "Question: … Answer:".
"""

from typing import Any

from datasets import Dataset
from lm_eval.api.task import ConfigurableTask

from trainer.chat import find_chat_format
from trainer.evaluate import _MAX_ANSWER_TOKENS, Row, plain
from trainer.special_tokens import END_OF_TEXT


def _task(name: str, rows: list[Row], **config: Any) -> ConfigurableTask:
    return ConfigurableTask(
        config={
            'task': name,
            'test_split': 'test',
            'custom_dataset': lambda **_: {'test': Dataset.from_list(rows)},
            'num_fewshot': 0,
            **config,
        }
    )


def bits_per_byte_task(rows: list[Row]) -> ConfigurableTask:
    """Log likelihood of whole documents, against their UTF-8 bytes."""

    def score(doc: Row, results: list[float]) -> dict[str, Any]:
        (likelihood,) = results
        return {'bits_per_byte': (likelihood, len(doc['text'].encode()))}

    return _task(
        'valBpb',
        rows,
        output_type='loglikelihood_rolling',
        doc_to_text='',
        doc_to_target='{{text}}',
        process_results=score,
        metric_list=[{'metric': 'bits_per_byte'}],
    )


def _prompt(tokenizer: Any) -> Any:
    def text(doc: Row) -> str:
        if tokenizer is None:
            return f'{END_OF_TEXT}Question: {doc["question"]}\nAnswer:'
        return tokenizer.apply_chat_template(
            [{'role': 'user', 'content': doc['question']}],
            tokenize=False,
            add_generation_prompt=True,
        )

    return text


def _ends(tokenizer: Any) -> list[str]:
    """What ends an answer, first what ends it well."""
    if tokenizer is None:
        return ['\n', END_OF_TEXT]
    known = find_chat_format(tokenizer.get_vocab())
    return [END_OF_TEXT] if known is None else [known.end, END_OF_TEXT]


def question_task(rows: list[Row], tokenizer: Any) -> ConfigurableTask:
    """Greedy answers, right when they equal the expected one up to case, punctuation and space."""

    def score(doc: Row, results: list[str]) -> dict[str, float]:
        return {'acc': float(plain(results[0]) == plain(doc['answer']))}

    return _task(
        'questions.accuracy',
        rows,
        output_type='generate_until',
        doc_to_text=_prompt(tokenizer),
        doc_to_target='answer',
        generation_kwargs={
            'until': _ends(tokenizer),
            'max_gen_toks': _MAX_ANSWER_TOKENS,
            'do_sample': False,
        },
        process_results=score,
        metric_list=[{'metric': 'acc'}],
    )


def preference_task(rows: list[Row], tokenizer: Any) -> ConfigurableTask:
    """Whether the chosen answer, whole, is likelier than the rejected one."""
    end = _ends(tokenizer)[0]

    return _task(
        'preferences.accuracy',
        rows,
        output_type='multiple_choice',
        doc_to_text=_prompt(tokenizer),
        doc_to_choice=lambda doc: [doc['chosen'] + end, doc['rejected'] + end],
        doc_to_target=0,
        target_delimiter=' ' if tokenizer is None else '',
        metric_list=[{'metric': 'acc'}],
    )
