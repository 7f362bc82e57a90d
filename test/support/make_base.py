"""Makes a tiny base model that knows some of a text: `python test/support/make_base.py TEXT OUT`.

OUT is a transformers folder as others publish it: a Llama, a byte-level BPE with an end of text, and
a chat template of its own.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END_OF_TEXT, BEGIN, END = '<|endoftext|>', '<|begin|>', '<|over|>'
TEMPLATE = (
    '{% for message in messages %}<|begin|>{{ message.role }}: {{ message.content }}<|over|>'
    '{% endfor %}{% if add_generation_prompt %}<|begin|>assistant: {% endif %}'
)
STEPS = 60


def main(text: str, out: Path) -> None:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[END_OF_TEXT, BEGIN, END],
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
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BEGIN, eos_token=END)
    fast.chat_template = TEMPLATE
    fast.save_pretrained(out)


if __name__ == '__main__':
    main(Path(sys.argv[1]).read_text('utf-8'), Path(sys.argv[2]))
