"""The graph of a ModernBERT encoder in ONNX, written node by node: no exporter is needed for it.

    inputs   input_ids            int64   [batch, sequence]
             attention_mask       int64   [batch, sequence]; 0 where a row is padded on the right
    outputs  last_hidden_state    float32 [batch, sequence, width]
             sentence_embedding   float32 [batch, width]; the mean over what is not padding, of
                                  length 1
Equal weights give equal bytes.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from transformers import ModernBertModel

# The first with Gelu.
_OPSET = 20
_IR_VERSION = 10
# What no softmax leaves anything of; infinity would make nothing of a row without neighbours.
_HIDDEN_SCORE = -1e9
_LEAST_LENGTH = 1e-12


class _Graph:
    """Nodes and constants, named in the order in which they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, kind: str, *inputs: str, name: str | None = None, **fields: Any) -> str:
        """One node with one output."""
        return self.split(kind, *inputs, outputs=1, name=name, **fields)[0]

    def split(
        self, kind: str, *inputs: str, outputs: int, name: str | None = None, **fields: Any
    ) -> list[str]:
        """One node; returns the names of its outputs."""
        base = name or f'{kind}_{len(self.nodes)}'
        names = [base] if outputs == 1 else [f'{base}_{part}' for part in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=base, **fields))
        return names

    def weight(self, name: str, value: torch.Tensor) -> str:
        """A constant in float32."""
        return self.constant(name, value.detach().float().contiguous().numpy())

    def numbers(self, *values: int) -> str:
        """A constant list of integers, the same one each time."""
        name = 'int_' + '_'.join(str(value).replace('-', 'm') for value in values)
        return self.constant(name, np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant of float32."""
        return self.constant(f'float_{value!r}', np.array(value, dtype=np.float32))

    def constant(self, name: str, value: np.ndarray) -> str:
        """A constant by its name."""
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name


def encoder_graph(model: 'ModernBertModel') -> onnx.ModelProto:
    """The encoder with its weights inside."""
    config, graph = model.config, _Graph()
    epsilon, width = config.norm_eps, config.hidden_size
    length = graph.add('Shape', 'input_ids', start=1, end=2)
    mask = graph.add('Cast', 'attention_mask', to=TensorProto.FLOAT)
    scores = _hidden_scores(graph, mask, length, config)
    turns = _turns(graph, length, model)
    tokens = graph.weight('embeddings', model.embeddings.tok_embeddings.weight)
    norm = graph.weight('embeddings.norm', model.embeddings.norm.weight)
    hidden = graph.add('Gather', tokens, 'input_ids')
    hidden = graph.add('LayerNormalization', hidden, norm, axis=-1, epsilon=epsilon)
    for at, layer in enumerate(model.layers):
        kind = layer.attention_type
        normed = hidden
        # The first layer begins with what the embedding has normed already.
        if isinstance(layer.attn_norm, torch.nn.LayerNorm):
            weight = graph.weight(f'layers.{at}.attn_norm', layer.attn_norm.weight)
            normed = graph.add('LayerNormalization', hidden, weight, axis=-1, epsilon=epsilon)
        mixed = _attention(graph, normed, layer.attn, f'layers.{at}.attn', scores[kind], turns)
        hidden = graph.add('Add', hidden, mixed)
        weight = graph.weight(f'layers.{at}.mlp_norm', layer.mlp_norm.weight)
        normed = graph.add('LayerNormalization', hidden, weight, axis=-1, epsilon=epsilon)
        hidden = graph.add('Add', hidden, _feed_forward(graph, normed, layer.mlp, f'layers.{at}'))
    weight = graph.weight('final_norm', model.final_norm.weight)
    last = 'last_hidden_state'
    graph.add('LayerNormalization', hidden, weight, axis=-1, epsilon=epsilon, name=last)
    _pool(graph, last, mask)
    rows: list[Any] = ['batch', 'sequence']
    integers, floats = TensorProto.INT64, TensorProto.FLOAT
    made = helper.make_graph(
        graph.nodes,
        'encoder',
        [
            helper.make_tensor_value_info('input_ids', integers, rows),
            helper.make_tensor_value_info('attention_mask', integers, rows),
        ],
        [
            helper.make_tensor_value_info(last, floats, [*rows, width]),
            helper.make_tensor_value_info('sentence_embedding', floats, ['batch', width]),
        ],
        list(graph.constants.values()),
    )
    opset = helper.make_opsetid('', _OPSET)
    return helper.make_model(made, opset_imports=[opset], ir_version=_IR_VERSION)


def _linear(graph: _Graph, hidden: str, layer: torch.nn.Linear, name: str) -> str:
    return graph.add('MatMul', hidden, graph.weight(name, layer.weight.T))


def _hidden_scores(graph: _Graph, mask: str, length: str, config: Any) -> dict[str, str]:
    """What is added to the scores, by the kind of a layer: nothing, or what hides a token."""
    hiding = graph.number(_HIDDEN_SCORE)
    absent = graph.add('Sub', graph.number(1.0), mask)
    padded = graph.add('Mul', absent, hiding)
    everywhere = graph.add('Unsqueeze', padded, graph.numbers(1, 2))
    reach = config.local_attention // 2
    places = np.arange(config.max_position_embeddings)
    far = np.abs(places[:, None] - places[None]) > reach
    table = graph.constant('far', np.where(far, _HIDDEN_SCORE, 0.0).astype(np.float32))
    rows = graph.add('Slice', table, graph.numbers(0), length, graph.numbers(0))
    square = graph.add('Slice', rows, graph.numbers(0), length, graph.numbers(1))
    # The larger of two would be one hidden score; their sum is as good, and finite.
    nearby = graph.add('Add', everywhere, square)
    return {'full_attention': everywhere, 'sliding_attention': nearby}


def _turns(graph: _Graph, length: str, model: 'ModernBertModel') -> tuple[str, str]:
    """Cosines and sines of the places, [sequence, head width]; all layers turn alike."""
    config = model.config
    places = torch.arange(config.max_position_embeddings)[None]
    kinds = set(config.layer_types)
    tables = [model.rotary_emb(torch.zeros(1), places, kind) for kind in sorted(kinds)]
    for other in tables[1:]:
        if not torch.equal(other[0], tables[0][0]):
            raise ValueError('config.rope_parameters: expected the same for all layers')
    cos, sin = (graph.weight(name, table[0]) for name, table in zip('cs', tables[0], strict=True))
    first = graph.numbers(0)
    return graph.add('Slice', cos, first, length, first), graph.add(
        'Slice', sin, first, length, first
    )


def _attention(
    graph: _Graph, hidden: str, attention: Any, name: str, scores: str, turns: tuple[str, str]
) -> str:
    config = attention.config
    heads, width = config.num_attention_heads, attention.head_dim
    mixed = _linear(graph, hidden, attention.Wqkv, f'{name}.Wqkv')
    parted = graph.add('Reshape', mixed, graph.numbers(0, 0, 3, heads, width))
    stacked = graph.add('Transpose', parted, perm=[2, 0, 3, 1, 4])
    parts = graph.split('Split', stacked, outputs=3, axis=0, num_outputs=3)
    first = graph.numbers(0)
    query, key, value = (graph.add('Squeeze', part, first) for part in parts)
    query, key = _turn(graph, query, turns), _turn(graph, key, turns)
    turned = graph.add('Transpose', key, perm=[0, 1, 3, 2])
    raw = graph.add('Mul', graph.add('MatMul', query, turned), graph.number(width**-0.5))
    shares = graph.add('Softmax', graph.add('Add', raw, scores), axis=-1)
    taken = graph.add('Transpose', graph.add('MatMul', shares, value), perm=[0, 2, 1, 3])
    joined = graph.add('Reshape', taken, graph.numbers(0, 0, heads * width))
    return _linear(graph, joined, attention.Wo, f'{name}.Wo')


def _turn(graph: _Graph, states: str, turns: tuple[str, str]) -> str:
    cos, sin = turns
    low, high = graph.split('Split', states, outputs=2, axis=-1, num_outputs=2)
    swapped = graph.add('Concat', graph.add('Neg', high), low, axis=-1)
    return graph.add('Add', graph.add('Mul', states, cos), graph.add('Mul', swapped, sin))


def _feed_forward(graph: _Graph, hidden: str, mlp: Any, name: str) -> str:
    both = _linear(graph, hidden, mlp.Wi, f'{name}.mlp.Wi')
    states, gate = graph.split('Split', both, outputs=2, axis=-1, num_outputs=2)
    gated = graph.add('Mul', graph.add('Gelu', states), gate)
    return _linear(graph, gated, mlp.Wo, f'{name}.mlp.Wo')


def _pool(graph: _Graph, last: str, mask: str) -> None:
    column = graph.add('Unsqueeze', mask, graph.numbers(-1))
    kept = graph.add('Mul', last, column)
    total = graph.add('ReduceSum', kept, graph.numbers(1), keepdims=0)
    count = graph.add('ReduceSum', column, graph.numbers(1), keepdims=0)
    mean = graph.add('Div', total, count)
    length = graph.add('ReduceL2', mean, graph.numbers(-1), keepdims=1)
    least = graph.add('Max', length, graph.number(_LEAST_LENGTH))
    graph.add('Div', mean, least, name='sentence_embedding')
