"""The exercises of lesson 03 about the training loop."""

from collections import Counter
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from course_lib import losses, train
from course_lib.check.choosing import check_words
from course_lib.check.core import Verdict, check_function
from course_lib.check.record import exercise
from course_lib.compute import PLAIN


def _item(value):
    """Turn a tensor of one value into a number; anything else stays."""
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


def _two_steps(step: Callable, loss_fn: nn.Module, optimizer: Callable) -> dict:
    """Take two steps with a small network; observe what runs, what is returned, what moves."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
                          nn.Conv2d(3, 1, 1))
    optimizer, ran = optimizer(model.parameters(), lr=0.1), Counter()
    model[0].register_forward_hook(lambda *_: ran.update(["forward"]))
    model[0].bias.register_hook(lambda _: ran.update(["backward"]))
    optimizer.register_step_post_hook(lambda *_: ran.update(["step"]))
    returned, weights = [], []
    for _ in range(2):
        image, target = torch.randn(4, 1, 6, 6), (torch.rand(4, 1, 6, 6) > 0.6).to(torch.uint8)
        returned.append(step(model, image, target, loss_fn, optimizer))
        if returned[-1] is ...:
            return ...
        weights.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
    return {"calls of the network in two steps": ran["forward"],
            "runs of loss.backward() in two steps": ran["backward"],
            "runs of optimizer.step() in two steps": ran["step"],
            "the loss of the first step": _item(returned[0]),
            "a graph behind the returned loss": bool(getattr(returned[0], "requires_grad", False)),
            "the weights after one step": weights[0], "the weights after two steps": weights[1],
            "the loss of the second step": _item(returned[1]), "model.training": model.training,
            "the norm's running mean": model[1].running_mean}


def _training_step(model, image, target, loss_fn, optimizer, **changed):
    """Take the library's step, or, where something is changed, one by hand."""
    if changed:
        return _step_by_hand(model, image, target, loss_fn, optimizer, **changed)
    return train.training_step(model, image, target, loss_fn=loss_fn, optimizer=optimizer,
                               scaler=torch.amp.GradScaler("cpu", enabled=False), compute=PLAIN)


def _step_by_hand(model, image, target, loss_fn, optimizer, *, order="zero backward step",
                  squash=lambda logits: logits, mode=True, own=None,
                  finish=lambda loss: loss.detach()):
    """Take a step; what may be done otherwise are arguments."""
    model.train(mode)
    loss = (own or loss_fn)(squash(model(image)), target.float())
    parts = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
    for part in order.split():
        parts[part]()
    return finish(loss)


def _loss_afterwards(model, image, target, loss_fn, optimizer):
    _training_step(model, image, target, loss_fn, optimizer)
    with torch.no_grad():
        return loss_fn(model(image), target)


def _network_twice(model, image, target, loss_fn, optimizer):
    model(image)
    return _training_step(model, image, target, loss_fn, optimizer)


def _with_logits(model, image, target, loss_fn, optimizer, give):
    kept = []
    loss = _step_by_hand(model, image, target, loss_fn, optimizer,
                         squash=lambda logits: kept.append(logits) or logits)
    return give(kept[0], loss)


def _left_in_eval_mode(model, *others):
    loss = _step_by_hand(model, *others, mode=model.training)
    model.eval()
    return loss


def _two_at_once(*arguments):
    _training_step(*arguments)
    return _training_step(*arguments)


def _what_never_ran(seen, *_) -> str:
    """Rule for a step: everything that is handed in is used, once."""
    ran = list(seen.items())[:3]
    return next((f"In each step {what.split(' in two')[0].split(' of ')[1]} runs once."
                 for what, times in ran if times != 2), "")


@exercise("03")
def training_step(answer) -> Verdict:
    """Check step(model, image, target, loss_fn, optimizer) -> loss beside train.training_step."""
    torch.optim.SGD([torch.zeros(1)], lr=1)      # torch's first takes seconds: not the student's
    return check_function(
        answer, _training_step,
        {"BCE, plain gradient descent": (losses.BCE(), torch.optim.SGD),
         "BCE + Dice, Adam": (losses.BCEDice(), torch.optim.Adam)},
        slips={
            "optimizer.zero_grad() is missing: gradients add up from step to step.":
                {"order": "backward step"},
            "The weights do not move, for optimizer.step() finds no gradient: it stands before "
            "loss.backward(), or zero_grad() stands between the two.":
                {"order": "backward zero step"},
            "optimizer.step() is missing, or has no brackets: the weights do not move.":
                {"order": "zero backward"},
            "loss.backward() is missing, or has no brackets: there is no gradient to follow.":
                {"order": "zero step"},
            "The loss takes logits; it applies the sigmoid itself, so yours is applied twice.":
                {"squash": torch.sigmoid},
            "model.eval() is for scoring: while training the norm takes the batch's own mean.":
                {"mode": False},
            "What you return holds the graph of the whole step in memory: return loss.detach() or "
            "loss.item().": {"finish": lambda loss: loss},
            "You computed a loss of your own; loss_fn is handed in.": {"own": losses.BCE()},
            "You computed a loss of your own; loss_fn is the one that is handed in.":
                {"own": losses.BCEDice()},
            "You returned the loss after the step; the one that was trained on is asked for.":
                _loss_afterwards,
            "The network is called twice: once is enough, and its norm counts each batch twice.":
                _network_twice,
            "You returned the logits; the loss is asked for.":
                partial(_with_logits, give=lambda logits, loss: logits),
            "You returned logits and loss; the loss alone is asked for.":
                partial(_with_logits, give=lambda logits, loss: (logits, loss)),
            "model.eval() is left on: the next step trains in eval mode.": _left_in_eval_mode,
            "One call takes one step; yours takes two.": _two_at_once,
        },
        observe=_two_steps, rule=_what_never_ran,
        remark="the same weights as train.training_step after two steps. What fit adds around "
               "these five lines: precision, clipping, schedule, checkpoints")


@exercise("03")
def faulty_loop(answer) -> Verdict:
    """Check which fault each of three training loops has: letter to word."""
    clues = {"a": "follow the network's mode from the first validation into the second epoch",
             "b": "which values does each part of the loss take, and which do they have?",
             "c": "what does .grad hold when the second step begins?"}
    return check_words(
        answer, {"a": "eval mode", "b": "target", "c": "zero_grad"},
        {"zero_grad": r"zero.?grad", "eval mode": r"eval|\bmode\b|train\(\)",
         "target": r"target|mask|255|float|uint8", "none": r"none|^no\b|nothing"},
        lambda letter, said, fault: clues[letter],
        remark="none of the three raises an error, and all three learn a little: that is why they "
               "last. One batch, learned by heart, would have shown them")
