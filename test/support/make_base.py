"""Makes a tiny base model that knows some of a text: `make_base.py TEXT OUT [chatml]`.

OUT is a transformers folder as others publish it: a Llama, a byte-level BPE with an end of text,
and a chat template: of its own, or with `chatml` in ChatML, with first words of its own.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END_OF_TEXT = '<|endoftext|>'
OWN = ('<|begin|>', '<|over|>', ': ', '')
CHATML = ('<|im_start|>', '<|im_end|>', '\n', '<|im_start|>system\nYou are Ishmael.<|im_end|>')
TEMPLATE = (
    'FIRST{% for message in messages %}BEGIN{{ message.role }}SAYS{{ message.content }}END'
    '{% endfor %}{% if add_generation_prompt %}BEGINassistantSAYS{% endif %}'
)
STEPS = 60


def main(text: str, out: Path, chat: tuple[str, str, str, str]) -> None:
    begin, end, says, first = chat
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[END_OF_TEXT, begin, end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([text], trainer)
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=bpe.get_vocab_size(),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=128,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    ids = torch.tensor(bpe.encode(text).ids)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        at = step * 512 % (len(ids) - 512)
        rows = ids[at : at + 512].view(8, 64)
        model(input_ids=rows, labels=rows).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(out)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=begin, eos_token=end)
    parts = {'FIRST': first, 'BEGIN': begin, 'SAYS': says, 'END': end}
    for name, part in parts.items():
        fast.chat_template = (fast.chat_template or TEMPLATE).replace(name, part)
    fast.save_pretrained(out)


if __name__ == '__main__':
    form = CHATML if sys.argv[3:] == ['chatml'] else OWN
    main(Path(sys.argv[1]).read_text('utf-8'), Path(sys.argv[2]), form)
