"""A whole trainer: plain SGD, whose only state is the weights, in one process.

writing-your-own-trainer.md says what each part is for. `python -m trainer.launch --config run.json`
"""

import fcntl
import hashlib
import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import torch
from safetensors.torch import load_file

from trainer.model import build_model
from trainer.shapes import ModelShape

run = json.loads(Path(sys.argv[sys.argv.index('--config') + 1]).read_text())
recipe, folder, step = run['recipe'], Path(run['runDir']), 0
lock = open(folder / 'lock', 'ab')  # noqa: SIM115
fcntl.flock(lock, fcntl.LOCK_EX)
born, signals = time.time(), []
signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))


def event(name: str, **facts: object) -> None:
    with open(folder / 'events.jsonl', 'a') as lines:
        lines.write(json.dumps({'event': name, 'step': step, **facts, 'at': time.time()}) + '\n')


def write_whole(target: Path, fill: Callable[[Path], object]) -> None:
    aside = target.with_name(f'.{target.name}.partial')
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    fill(aside)
    aside.rename(target)


def fill_checkpoint(into: Path) -> None:
    model.save_pretrained(into)
    files = {}
    for file in sorted(into.iterdir()):
        bytes_ = file.read_bytes()
        files[file.name] = {'sha256': hashlib.sha256(bytes_).hexdigest(), 'bytes': len(bytes_)}
    state = {'step': step, 'learningRates': [], 'files': files}
    (into / 'state.json').write_text(json.dumps(state))


def save() -> None:
    target = folder / 'checkpoints' / str(step)
    if not target.exists():
        event('save_started')
        write_whole(target, fill_checkpoint)
        event('checkpoint', path=str(target))


def obey() -> str | None:
    file, touched, control = folder / 'control.json', born, {'stop': False, 'acknowledged': []}
    if file.exists():
        touched, control = max(born, file.stat().st_mtime), json.loads(file.read_text())
    for old in sorted(control['acknowledged'])[: -run['keepCheckpoints']]:
        shutil.rmtree(folder / 'checkpoints' / str(old), ignore_errors=True)
    if signals or control['stop'] or time.time() > control.get('stopAt', float('inf')):
        return 'Stopped'
    return 'Unwatched' if time.time() - touched > recipe['unwatchedExitS'] else None


def end(**result: object) -> None:
    event('end')
    (folder / '.result.json').write_text(json.dumps({**result, 'step': step}))
    (folder / '.result.json').rename(folder / 'result.json')
    sys.exit(0 if result['ok'] else 1)


if run['data']['kind'] != 'tokens':
    end(ok=False, type='InvalidConfig', message='this trainer only pretrains; set goal: base')
torch.set_num_threads(recipe['threads'])
model = build_model(ModelShape(**run['model']), recipe['seed'], 0)
if run['resumeFrom'] is not None:
    step = json.loads((Path(run['resumeFrom']) / 'state.json').read_text())['step']
if (start := run['resumeFrom'] or run['init']) is not None:
    model.load_state_dict(load_file(Path(start) / 'model.safetensors'), strict=False)
kind = numpy.uint16 if run['data']['tokenBytes'] == 2 else numpy.uint32
shards = [numpy.fromfile(shard['path'], kind) for shard in run['data']['shards']]
tokens = torch.from_numpy(numpy.concatenate(shards).astype(numpy.int64))
size, length, loss = recipe['batchSize'], recipe['contextLength'], 0.0

event('start', resumedFrom=run['resumeFrom'])
last = run.get('endAt', recipe['numSteps'])
while step < last:
    began = time.monotonic()
    order = torch.Generator().manual_seed(recipe['seed'] * 2**31 + step)
    places = torch.randint(len(tokens) - length, (size,), generator=order).tolist()
    rows = torch.stack([tokens[place : place + length] for place in places])
    nats = model(input_ids=rows, labels=rows).loss
    nats.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe['gradClip']).item()
    with torch.no_grad():
        for weights in model.parameters():
            weights -= recipe['learningRate'] * weights.grad
            weights.grad = None
    step, loss, pace = step + 1, nats.item(), size * length / (time.monotonic() - began)
    facts = {'lr': recipe['learningRate'], 'grad_norm': norm, 'tokens_per_second': pace}
    event('step', loss=loss, num_tokens=step * size * length, **facts)
    why = obey()
    if why or step % recipe['saveEverySteps'] == 0 or step == last:
        save()
    if why and step < last:
        end(ok=False, type=why, message=f'left at step {step}')
write_whole(folder / 'model', model.save_pretrained)
told = {'numTokens': step * size * length, 'finalLoss': loss, 'valBpb': None, 'learningRates': []}
end(ok=True, model='model', **told)
