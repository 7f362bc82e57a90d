"""Causal models of the families that we shape ourselves (Llama, Qwen2, Qwen3), and a lean pass
through their parameters, for training on CPU.

Same function as the model's own forward pass, with fewer trips through memory: one product for
query, key and value, attention as plain matrix products (three times faster than the fused kernel
at these lengths), and the loss in chunks that stay in the cache, its gradient made on the way.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.given import OwnPass, build_given
from trainer.initialise import initialise
from trainer.shapes import GivenModel, ModelShape

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_CPU = torch.device('cpu')
_LOSS_CHUNK = 512
# Added to a score: no weight is left of it, in any precision.
_HIDDEN = -1e4
# Of the models that we make; one that was made elsewhere brings its own.
_RMS_EPS = 1e-6


def causal_config(
    shape: ModelShape, *, rms_norm_eps: float, bos_token_id: int | None, eos_token_id: int
) -> 'PreTrainedConfig':
    """The configuration of transformers for a shape."""
    # Imported late: transformers takes seconds, and a wrong configuration should be told at once.
    from transformers import AutoConfig

    # Of Qwen2 alone the width of a head follows from the others.
    head = {} if shape.family == 'qwen2' else {'head_dim': shape.head_width}
    return AutoConfig.for_model(
        shape.family,
        vocab_size=shape.vocabSize,
        hidden_size=shape.hiddenSize,
        intermediate_size=shape.intermediateSize,
        num_hidden_layers=shape.numLayers,
        num_attention_heads=shape.numHeads,
        num_key_value_heads=shape.numKvHeads,
        max_position_embeddings=shape.contextLength,
        rope_parameters={'rope_type': 'default', 'rope_theta': shape.ropeTheta},
        tie_word_embeddings=shape.tieEmbeddings,
        rms_norm_eps=rms_norm_eps,
        bos_token_id=bos_token_id,
        eos_token_id=eos_token_id,
        **head,
    )


def head_width(config: 'PreTrainedConfig') -> int:
    """Width of a head, which some configurations say and others imply."""
    said = getattr(config, 'head_dim', None)
    return said or config.hidden_size // config.num_attention_heads


def build_model(shape: ModelShape | GivenModel, seed: int, end_of_text: int) -> 'PreTrainedModel':
    """A model with random weights that depend on the seed alone."""
    from transformers import AutoModelForCausalLM

    if isinstance(shape, GivenModel):
        return build_given(shape, seed, end_of_text)

    config = causal_config(
        shape, rms_norm_eps=_RMS_EPS, bos_token_id=end_of_text, eos_token_id=end_of_text
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    initialise(model, seed, _draw)
    return model


def _draw(parameter: Tensor, std: float, generator: torch.Generator) -> None:
    parameter.normal_(0.0, std, generator=generator)


def training_pass(
    model: 'PreTrainedModel',
    shape: ModelShape | GivenModel,
    context_length: int,
    dtype: torch.dtype,
    device: torch.device = _CPU,
) -> 'LeanModel | OwnPass':
    """The lean pass for the families that it knows; for a model that was given, its own."""
    if isinstance(shape, GivenModel):
        return OwnPass(model, dtype)
    return LeanModel(model, context_length, dtype, device)


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of the cross entropies of hidden @ weight.T; never holds more than a chunk of logits."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, keep_gradient: bool
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if keep_gradient else None
        # A frozen head has none, and its product is as much work as all of the rest here.
        moves = keep_gradient and ctx.needs_input_grad[1]
        weight_gradient = torch.zeros(weight.shape, device=weight.device) if moves else None
        for at in range(0, hidden.shape[0], _LOSS_CHUNK):
            rows = slice(at, at + _LOSS_CHUNK)
            part, target = hidden[rows], targets[rows, None]
            logits = (part @ weight.T).float()
            log_sum = logits.logsumexp(-1, keepdim=True)
            total += (log_sum - logits.gather(1, target)).sum()
            if hidden_gradient is not None:
                gradient = logits.sub_(log_sum).exp_()
                gradient.scatter_add_(1, target, torch.full_like(target, -1, dtype=torch.float32))
                gradient = gradient.to(hidden.dtype)
                hidden_gradient[rows] = gradient @ weight
                if weight_gradient is not None:
                    weight_gradient += gradient.T @ part
        if hidden_gradient is not None:
            ctx.save_for_backward(hidden_gradient, weight_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (scale,) = outputs
        hidden_gradient, weight_gradient = ctx.saved_tensors
        head = None if weight_gradient is None else weight_gradient * scale
        return hidden_gradient * scale, head, None, None


class _LinearDivergence(torch.autograd.Function):
    """Sum of KL(p || q) of the words that two hidden states foretell, in chunks as above."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, remembered: Tensor, weight: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden)
        for at in range(0, hidden.shape[0], _LOSS_CHUNK):
            rows = slice(at, at + _LOSS_CHUNK)
            foretold = (hidden[rows] @ weight.T).float().log_softmax(-1)
            expected = (remembered[rows] @ weight.T).float().log_softmax(-1)
            share = expected.exp()
            total += (share * expected.sub_(foretold)).sum()
            gradient = foretold.exp_().sub_(share).to(hidden.dtype)
            hidden_gradient[rows] = gradient @ weight
        ctx.save_for_backward(hidden_gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        (scale,) = outputs
        (hidden_gradient,) = ctx.saved_tensors
        return hidden_gradient * scale, None, None


class LeanModel(nn.Module):
    """Computes the loss of token windows from a transformers model's own parameters.

    Where PEFT has put LoRA adapters around its projections, they count.
    """

    def __init__(
        self,
        model: 'PreTrainedModel',
        context_length: int,
        dtype: torch.dtype,
        device: torch.device = _CPU,
    ) -> None:
        super().__init__()
        config = model.config
        self._model = model
        self._dtype = dtype
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._head_dim = head_width(config)
        self._eps = config.rms_norm_eps
        theta = config.rope_parameters['rope_theta']
        powers = torch.arange(0, self._head_dim, 2, dtype=torch.float32) / self._head_dim
        angles = torch.arange(context_length, dtype=torch.float32)[:, None] / theta**powers
        # Turning by half a head and a signed sine is the rotation without building a negated copy.
        self._cos = torch.cat((angles.cos(), angles.cos()), -1)[:, None].to(device, dtype)
        self._sin = torch.cat((-angles.sin(), angles.sin()), -1)[:, None].to(device, dtype)
        mask = torch.full((context_length, context_length), _HIDDEN, dtype=dtype).triu(1)
        self._mask = mask.to(device)
        self._calls_layers = False

    def layers_to_call(self) -> list[nn.Module]:
        """The layers, which from now on are called as modules and then compute this pass.

        Whoever parts their weights among ranks gathers those of a layer when it is called.
        """
        layers = list(self._model.model.layers)
        for layer in layers:
            layer.forward = partial(self._layer, layer)
        self._calls_layers = True
        return layers

    def forward(self, inputs: Tensor, targets: Tensor, positions: Tensor | None = None) -> Tensor:
        """Sum of nats over the targets that are not negative; behind them stands padding."""
        hidden = self.hidden(inputs, positions).reshape(-1, self._model.config.hidden_size)
        targets = targets.reshape(-1)
        scored = targets >= 0
        if not scored.all():
            hidden, targets = hidden[scored], targets[scored]
        weight = self._model.lm_head.weight.to(self._dtype)
        return _LinearCrossEntropy.apply(hidden, weight, targets, torch.is_grad_enabled())

    def divergence(self, inputs: Tensor, remembered: Tensor) -> Tensor:
        """Sum over all positions, in nats, of KL from what `remembered` foretells.

        `remembered` is what `hidden` gave for the same inputs before; the head is frozen.
        """
        width = self._model.config.hidden_size
        weight = self._model.lm_head.weight.to(self._dtype)
        hidden = self.hidden(inputs).reshape(-1, width)
        return _LinearDivergence.apply(hidden, remembered.reshape(-1, width), weight)

    def row_nats(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Nats of each row, over its targets that are not negative."""
        scored = targets >= 0
        hidden = self.hidden(inputs)[scored]
        logits = F.linear(hidden, self._model.lm_head.weight.to(self._dtype)).float()
        nats = torch.zeros(targets.shape, device=targets.device)
        nats[scored] = F.cross_entropy(logits, targets[scored], reduction='none')
        return nats.sum(1)

    def _norm(self, hidden: Tensor, weight: Tensor) -> Tensor:
        weight = weight.to(hidden.dtype)
        return F.rms_norm(hidden, (hidden.shape[-1],), weight, self._eps).to(self._dtype)

    def _linear(self, hidden: Tensor, *projections: nn.Module) -> Tensor:
        layers = [getattr(each, 'base_layer', each) for each in projections]
        weight = _joined([layer.weight for layer in layers]).to(self._dtype)
        biases = [layer.bias for layer in layers if layer.bias is not None]
        mixed = F.linear(hidden, weight, _joined(biases).to(self._dtype) if biases else None)
        if all(isinstance(each, nn.Linear) for each in projections):
            return mixed
        return mixed + torch.cat([self._adapted(hidden, each) for each in projections], -1)

    def _adapted(self, hidden: Tensor, projection: Any) -> Tensor:
        (name,) = projection.lora_A
        down = projection.lora_A[name].weight.to(self._dtype)
        up = projection.lora_B[name].weight.to(self._dtype)
        return F.linear(F.linear(hidden, down), up * projection.scaling[name])

    def hidden(self, inputs: Tensor, positions: Tensor | None = None) -> Tensor:
        """States after the last norm, [rows, length, width], in the precision of the products.

        With `positions` a row holds several texts: each begins at 0, and sees itself alone.
        """
        body = self._model.model
        places = self._places(inputs.shape[1], positions)
        # The sum along the layers stays in float32, whatever the weights are kept in.
        hidden = F.embedding(inputs, body.embed_tokens.weight).float()
        for layer in body.layers:
            hidden = (
                layer(hidden, places) if self._calls_layers else self._layer(layer, hidden, places)
            )
        return self._norm(hidden, body.norm.weight)

    def _layer(self, layer: Any, hidden: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        normed = self._norm(hidden, layer.input_layernorm.weight)
        hidden = hidden + self._attention(normed, layer.self_attn, places)
        normed = self._norm(hidden, layer.post_attention_layernorm.weight)
        mlp = layer.mlp
        gate, up = self._linear(normed, mlp.gate_proj, mlp.up_proj).chunk(2, -1)
        return hidden + self._linear(F.silu(gate) * up, mlp.down_proj)

    def _norm_heads(self, turned: Tensor, attention: Any) -> Tensor:
        """Each query and each key on its own, as Qwen3 does before it turns them."""
        norms = ((attention.q_norm, self._heads), (attention.k_norm, self._kv_heads))
        weight = torch.cat([norm.weight.expand(heads, -1) for norm, heads in norms])
        plain = F.rms_norm(turned.float(), (self._head_dim,), None, self._eps)
        return (plain * weight).to(self._dtype)

    def _places(self, length: int, positions: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Cosine and sine of every token's place, and what hides from it what it must not see."""
        causal = self._mask[:length, :length]
        if positions is None:
            return self._cos[:length], self._sin[:length], causal
        texts = (positions == 0).cumsum(1)
        foreign = (texts[:, :, None] != texts[:, None, :])[:, None]
        return self._cos[positions], self._sin[positions], causal.masked_fill(foreign, _HIDDEN)

    def _attention(
        self, normed: Tensor, attention: Any, places: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        rows, length, _ = normed.shape
        heads, kv_heads, width = self._heads, self._kv_heads, self._head_dim
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        mixed = self._linear(normed, *projections).view(rows, length, heads + 2 * kv_heads, width)
        turned, value = mixed.split((heads + kv_heads, kv_heads), 2)
        if hasattr(attention, 'q_norm'):
            turned = self._norm_heads(turned, attention)
        cos, sin, mask = places
        turned = turned * cos + turned.roll(width // 2, -1) * sin
        query, key = turned.split((heads, kv_heads), 2)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        if heads != kv_heads:
            key = key.repeat_interleave(heads // kv_heads, 1)
            value = value.repeat_interleave(heads // kv_heads, 1)
        scores = (query @ key.transpose(-1, -2)) * width**-0.5 + mask
        mixed = scores.softmax(-1) @ value
        return self._linear(mixed.transpose(1, 2).reshape(rows, length, -1), attention.o_proj)


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]
