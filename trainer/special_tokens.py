"""The special tokens of every model we train, in the order of their ids."""

END_OF_TEXT = '<|endoftext|>'
USER = '<|user|>'
ASSISTANT = '<|assistant|>'
END = '<|end|>'
SPECIAL_TOKENS = (END_OF_TEXT, USER, ASSISTANT, END)
# Of ChatML, in which many models that were made elsewhere chat.
CHATML_BEGIN = '<|im_start|>'
CHATML_END = '<|im_end|>'
# Of masked models alone: they follow the vocabulary of a corpus, whose tokens stay as they are.
MASK = '<|mask|>'
PAD = '<|pad|>'
