"""The exercises of lesson 03: right answers, the usual wrong ones, and what no slip explains."""

import numpy as np
import pytest
import torch
from answers import ask, listed, names_a_slip, parts_of
from torch.nn import functional

from course_lib import check, losses, metrics, train
from course_lib.compute import PLAIN

CODING = ("dsc_of_patient", "training_step", "best_threshold")


# --- dsc_of_patient -------------------------------------------------------------------------------

def by_sets(prediction, target):
    one, other = (set(np.flatnonzero(mask)) for mask in (prediction, target))
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else np.nan


def by_loop(prediction, target):
    overlap = size = 0
    for p, t in zip(prediction.ravel().tolist(), target.ravel().tolist(), strict=True):
        overlap += p * t
        size += p + t
    return float("nan") if size == 0 else 2 * overlap / size


def by_torch(prediction, target):
    p, t = torch.from_numpy(prediction).float(), torch.from_numpy(target).float()
    return 2 * (p * t).sum() / (p + t).sum()                      # 0 / 0 is NaN in torch


def by_counts(prediction, target):
    hits = np.sum((prediction == 1) & (target == 1))
    false, missed = np.sum(prediction > target), np.sum(target > prediction)
    if hits + false + missed == 0:
        return np.nan
    return hits / (hits + (false + missed) / 2)


def by_iou(prediction, target):
    score = metrics.iou(prediction, target)
    return 2 * score / (1 + score)


def ratio(top, bottom):
    return top / bottom if bottom else float("nan")


def per_slice(reduce, empty=float("nan")):
    return lambda p, t: reduce([metrics.dsc(a, b, empty=empty) for a, b in zip(p, t, strict=True)])


def but(change):
    """The score with something done to it."""
    return lambda p, t: change(metrics.dsc(p, t))


def smoothed(p, t, s):
    return (2 * (p & t).sum() + s) / (p.sum() + t.sum() + s)


def in_uint8(p, t):
    return ratio(2 * int(np.dot(p.ravel(), t.ravel())), int(p.sum()) + int(t.sum()))


def in_place(p, t):
    size = int(p.sum()) + int(t.sum())
    p &= t
    return ratio(2 * int(p.sum()), size)


# --- training_step --------------------------------------------------------------------------------

def five_lines(model, image, target, loss_fn, optimizer):
    logits = model(image)
    loss = loss_fn(logits, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def zero_first(model, image, target, loss_fn, optimizer):
    model.train()
    optimizer.zero_grad(set_to_none=False)
    loss = loss_fn(model(image), target.float())
    loss.backward()
    optimizer.step()
    return loss.item()


def zero_last(model, image, target, loss_fn, optimizer):
    loss = loss_fn(model(image), target)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def zero_the_model(model, image, target, loss_fn, optimizer):
    model.zero_grad()
    loss = loss_fn(model(image), target)
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.detach().clone()


def by_the_library(model, image, target, loss_fn, optimizer):
    return train.training_step(model, image, target, loss_fn=loss_fn, optimizer=optimizer,
                               scaler=torch.amp.GradScaler("cpu", enabled=False), compute=PLAIN)


def step(order="zero_grad backward step", prepare=None,
         given=lambda logits, target: (logits, target), own=None, give=lambda loss: loss.detach()):
    """A step with one mistake."""
    def take(model, image, target, loss_fn, optimizer):
        if prepare:
            prepare(model)
        loss = (own or loss_fn)(*given(model(image), target))
        for part in order.split():
            {"zero_grad": optimizer.zero_grad, "backward": loss.backward,
             "step": optimizer.step}[part]()
        return give(loss)
    return take


def loss_afterwards(model, image, target, loss_fn, optimizer):
    five_lines(model, image, target, loss_fn, optimizer)
    return loss_fn(model(image), target).item()


def twice(model, image, target, loss_fn, optimizer):
    print(model(image).shape)
    return five_lines(model, image, target, loss_fn, optimizer)


def logits_returned(model, image, target, loss_fn, optimizer, both=False):
    logits = model(image)
    loss = loss_fn(logits, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return (logits, loss) if both else logits


def eval_afterwards(model, *others):
    loss = five_lines(model, *others)
    model.eval()
    return loss


def own_optimizer(model, image, target, loss_fn, optimizer):
    return five_lines(model, image, target, loss_fn, torch.optim.SGD(model.parameters(), lr=0.1))


def through_forward(model, image, target, loss_fn, optimizer):
    optimizer.zero_grad()
    loss = loss_fn(model.forward(image), target)
    loss.backward()
    optimizer.step()
    return loss.data


def without_gradient(model, image, target, loss_fn, optimizer):
    with torch.no_grad():
        loss = loss_fn(model(image), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def by_hand(model, image, target, loss_fn, optimizer):
    loss = loss_fn(model(image), target)
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight -= 0.1 * weight.grad
    return loss.item()


# --- best_threshold -------------------------------------------------------------------------------

def threshold_by_loop(probabilities, targets, candidates):
    best, chosen = -1, None
    for value in candidates:
        scores = []
        for part, target in zip(probabilities, targets, strict=True):
            scores.append(metrics.dsc(part > value, target))
        if np.mean(scores) > best:
            best, chosen = np.mean(scores), value
    return chosen


def threshold_by_argmax(probabilities, targets, candidates):
    scores = [[metrics.dsc(p > c, t) for p, t in zip(probabilities, targets, strict=True)]
              for c in candidates]
    return candidates[np.nanmean(scores, axis=1).argmax()]


def threshold_by_max(probabilities, targets, candidates):
    return max(candidates, key=lambda c: sum(
        metrics.dsc((p > c).astype(np.uint8), t)
        for p, t in zip(probabilities, targets, strict=True)))


def threshold_by_dict(probabilities, targets, candidates):
    means = {float(c): np.average([metrics.dsc(p >= c, t)
                                   for p, t in zip(probabilities, targets, strict=True)])
             for c in candidates}
    return sorted(means, key=lambda c: (-means[c], c))[0]


def threshold_by_torch(probabilities, targets, candidates):
    def score(value):
        each = []
        for p, t in zip(probabilities, targets, strict=True):
            mask, t = torch.from_numpy(p) > value, torch.from_numpy(t).bool()
            each.append(2 * (mask & t).sum() / (mask.sum() + t.sum()))
        return torch.stack(each).double().mean()
    return torch.tensor(candidates)[torch.stack([score(c) for c in candidates]).argmax()]


def scores_of(probabilities, targets, candidates, score=metrics.dsc, reduce=np.mean):
    return [float(reduce([score(p > c, t) for p, t in zip(probabilities, targets, strict=True)]))
            for c in candidates]


def choosing(**more):
    return lambda p, t, c: float(c[int(np.argmax(scores_of(p, t, c, **more)))])


def pooled(probabilities, targets, candidates):
    p, t = (np.concatenate([part.ravel() for part in parts]) for parts in (probabilities, targets))
    return float(candidates[int(np.argmax([metrics.dsc(p > c, t) for c in candidates]))])


def by_slice(empty, reduce):
    def choose(probabilities, targets, candidates):
        p, t = ([one for part in parts for one in part] for parts in (probabilities, targets))
        return choosing(score=lambda a, b: metrics.dsc(a, b, empty=empty), reduce=reduce)(
            p, t, candidates)
    return choose


def last_best(probabilities, targets, candidates):
    best, chosen = -1, None
    for value in candidates:
        mean = np.mean([metrics.dsc(p > value, t)
                        for p, t in zip(probabilities, targets, strict=True)])
        if mean >= best:
            best, chosen = mean, value
    return chosen


def one_each(probabilities, targets, candidates):
    return float(np.mean([threshold_by_loop([p], [t], candidates)
                          for p, t in zip(probabilities, targets, strict=True)]))


RIGHT = {
    "dsc_of_patient": [by_sets, by_loop, by_torch, by_counts, by_iou, metrics.dsc],
    "training_step": [five_lines, zero_first, zero_last, zero_the_model, through_forward,
                      by_the_library],
    "best_threshold": [threshold_by_loop, threshold_by_argmax, threshold_by_max, threshold_by_dict,
                       threshold_by_torch]}

WRONG = {
    "dsc_of_patient": [
        (lambda p, t: ratio((p & t).sum(), (p | t).sum()), "That is IoU"),
        (lambda p, t: ratio(2 * (p & t).sum(), (p | t).sum()), "twice the overlap by the union"),
        (lambda p, t: ratio((p & t).sum(), p.sum() + t.sum()), "factor 2 is missing"),
        (lambda p, t: (p == t).mean(), "accuracy"),
        (lambda p, t: ratio(2 * (p == t).sum(), p.sum() + t.sum()), "background included"),
        (lambda p, t: 2 * (p & t).sum() / (p.size + t.size), "divided by all pixels"),
        (lambda p, t: ratio((p & t).sum(), p.sum()), "precision"),
        (lambda p, t: ratio((p & t).sum(), t.sum()), "sensitivity"),
        (per_slice(np.mean, 1.0), "mean over slices, empty ones counting as 1"),
        (per_slice(np.mean, 0.0), "mean over slices, empty ones counting as 0"),
        (per_slice(np.mean), "mean over slices, NaN"),
        (per_slice(np.nanmean), "mean over slices, empty ones left out"),
        (lambda p, t: np.nanmean([metrics.dsc(a, b) if b.any() else np.nan
                                  for a, b in zip(p, t, strict=True)]), "slices with tumour"),
        (lambda p, t: metrics.dsc(p[0], t[0]), "Only the first slice"),
        (lambda p, t: metrics.dsc(p, t, empty=1.0), "NaN, not 1"),
        (lambda p, t: metrics.dsc(p, t, empty=0.0), "NaN, not 0"),
        (lambda p, t: smoothed(p, t, 1e-7), "NaN, not 1"),
        (lambda p, t: 2 * (p & t).sum() / (p.sum() + t.sum() + 1e-7), "NaN, not 0"),
        (lambda p, t: metrics.dsc(p, t) if p.any() and t.any() else np.nan,
         "where only one is empty nothing overlaps"),
        (lambda p, t: metrics.dsc(p, t) if t.any() else np.nan, "only the target is empty, all"),
        (lambda p, t: metrics.dsc(p, t) if t.any() else 1.0, "0, not 1; NaN is for two"),
        (lambda p, t: metrics.dsc(p, t) if t.any() else 0.0, "NaN, not 0"),
        (lambda p, t: smoothed(p, t, 1), "(smoothing)"),
        (but(lambda score: 100 * score), "per cent; a share lies in 0 … 1"),
        (but(lambda score: 1 - score), "That is 1 - DSC"),
        (but(lambda score: round(score, 2)), "You rounded; return"),
        (but(lambda score: round(score, 3)), "rounded to three decimals"),
        (lambda p, t: 2 * (p & t).sum() // (p.sum() + t.sum()) if p.any() or t.any() else np.nan,
         "`//`"),
        (in_uint8, "uint8 counts up to 255, then begins again"),
        (lambda p, t: np.dot(p.ravel(), t.ravel()) * 2 / max(1, p.sum() + t.sum())
         if p.any() or t.any() else np.nan, "and twice the overlap is more"),
        (lambda p, t: 2 * (p | t).sum() / (p.sum() + t.sum()), "where either is 1"),
        (lambda p, t: ratio(2 * (p & t).sum(), p.sum() * t.sum()), "You multiplied the two areas"),
        (lambda p, t: 2 * (p & t).sum() / p.sum() + t.sum(), "Brackets are missing"),
        (lambda p, t: 2 * (p & t).sum((1, 2)) / (p.sum((1, 2)) + t.sum((1, 2))),
         "is a .sum() or .mean() missing? That is one score for each slice"),
        (lambda p, t: metrics.dsc(p, t) if p.any() or t.any() else None,
         'it returned None: is there a `return`? A number is asked for; NaN is float("nan").'),
        (lambda p, t: metrics.dsc(p, t) if p.any() or t.any() else "NaN", 'NaN is float("nan").'),
        (lambda p, t: 2 * sum(p & t) / (sum(p) + sum(t)), "is a .sum() or .mean() missing?"),
        (lambda p, t: 100 * ratio((p & t).sum(), (p | t).sum()), "Two things at once. That is IoU"),
        (lambda p, t: 1 - smoothed(p, t, 1), "Two things at once. You added 1"),
        (lambda p, t: 2 * int((p & t).sum()) / (int(p.sum()) + int(t.sum())),
         "both empty: it raised ZeroDivisionError: it divides by zero here"),
        (in_place, "changed its input in place"),
        (lambda p, t: p and t, "`if`, `and`, `or`, `not` take one truth value"),
        (lambda p, t: 2 * metrics.dsc(p, t) + 1, "A share lies in 0 … 1."),
        (lambda p, t: (p.float() * t).sum(), "numpy array, which has no .float"),
        (lambda p, t: p & t, "expected a number, you returned [[[1, 0, 0], [0, 0, 0]]]"),
        (lambda p, t: float("nan"), "expected 0.2857143, you returned NaN"),
        (lambda p, t: 0.0, "expected 0.2857143, you returned 0"),
        (lambda p, t: "0.4", "expected a number, you returned '0.4'")],
    "training_step": [
        (step("backward step"), "optimizer.zero_grad() is missing"),
        (step("backward zero_grad step"), "The weights do not move, for optimizer.step() finds"),
        (step("zero_grad step backward"), "it stands before loss.backward(), or zero_grad()"),
        (step("step zero_grad backward"), "optimizer.step() comes after backward"),
        (step("step backward"), "optimizer.step() comes after backward"),
        (step("zero_grad backward"), "optimizer.step() is missing, or has no brackets"),
        (step("zero_grad step"), "loss.backward() is missing, or has no brackets"),
        (step(given=lambda logits, target: (torch.sigmoid(logits), target)), "sigmoid itself"),
        (step(prepare=lambda model: model.eval()), "model.eval() is for scoring"),
        (step(give=lambda loss: loss), "holds the graph of the whole step in memory"),
        (step(given=lambda logits, target: (target.float(), logits)), "the wrong way round"),
        (step(own=losses.BCE()), "a loss of your own"),
        (step(own=lambda logits, target: functional.binary_cross_entropy_with_logits(
            logits, target.float())), "a loss of your own"),
        (step(own=losses.BCEDice()), "a loss of your own"),
        (loss_afterwards, "the loss after the step"), (twice, "called twice"),
        (logits_returned, "You returned the logits"),
        (lambda *a: logits_returned(*a, both=True), "You returned logits and loss"),
        (step(give=lambda loss: (loss.detach(), loss)), "the loss of the first step"),
        (step(given=lambda logits, target: (logits, target / 255)), "was divided by 255"),
        (eval_afterwards, "model.eval() is left on"),
        (lambda *a: five_lines(*a) * 0 + five_lines(*a), "yours takes two"),
        (own_optimizer, "expected 2, yours has 0. In each step optimizer.step() runs once."),
        (lambda m, i, t, f, o: f(m, t), "a Sequential came where a tensor is taken"),
        (step("backward step", given=lambda logits, target: (torch.sigmoid(logits), target)),
         "Two things at once. optimizer.zero_grad() is missing"),
        (step("zero_grad backward", give=lambda loss: loss), "Two things at once. optimizer.st"),
        (without_gradient, "the loss has no gradient"),
        (step(given=lambda logits, target: ((logits > 0).float(), target)), "the loss has no grad"),
        (step("zero_grad backward backward step"), "backward ran twice on one loss"),
        (step(given=lambda logits, target: (logits, target[:2])), "logits have shape (4, 1, 6, 6)"),
        (step(give=lambda loss: None), "it returned None: is there a `return`?"),
        (step(give=lambda loss: str(loss)), "expected a number, yours has 'tensor("),
        (lambda model, image, target: 1, "lambda was called with 5 values and takes 3"),
        (lambda m, i, t, f, o: f(m(i), t).backwards(), "torch tensor, which has no .backwards"),
        (lambda m, i, t, f, o: m(i[:, 0, 0, 0]), "(B, C, H, W)"),
        (by_hand, "runs of optimizer.step() in two steps: expected 2, yours has 0")],
    "best_threshold": [
        (pooled, "pooled the pixels of all patients"),
        (by_slice(np.nan, np.nanmean), "over slices, empty ones left out"),
        (by_slice(1.0, np.mean), "over slices, empty ones counting as 1"),
        (by_slice(0.0, np.mean), "over slices, empty ones counting as 0"),
        (by_slice(np.nan, np.mean), "over slices, and empty ones are NaN"),
        (last_best, "Compare with `>`, not `>=`"),
        (lambda p, t, c: max(scores_of(p, t, c)), "You returned the DSC"),
        (lambda p, t, c: int(np.argmax(scores_of(p, t, c))), "You returned the position"),
        (lambda p, t, c: (threshold_by_loop(p, t, c), max(scores_of(p, t, c))), "threshold and D"),
        (scores_of, "the scores of all candidates"),
        (lambda p, t, c: c[int(np.argmin(scores_of(p, t, c)))], "worst threshold"),
        (choosing(reduce=np.median), "You took the median"),
        (choosing(reduce=max), "best patient's DSC"), (choosing(reduce=min), "worst patient's DSC"),
        (lambda p, t, c: threshold_by_loop(p[:1], t[:1], c), "first patient only"),
        (lambda p, t, c: threshold_by_loop(p[-1:], t[-1:], c), "last patient only"),
        (choosing(score=metrics.iou), "You averaged IoU"),
        (choosing(score=lambda a, b: (a == b).mean()), "accuracy"),
        (lambda p, t, c: c[int(np.argmax(scores_of([-x for x in p], t, [-v for v in c])))],
         "lies *below* the threshold"),
        (one_each, "averaged the best thresholds"), (lambda p, t, c: 0.5, "0.5 whatever"),
        (lambda p, t, c: c[0], "first candidate whatever"),
        (lambda p, t, c: c[-1], "last candidate whatever"),
        (lambda p, t, c: int(np.argmax([metrics.dsc(np.concatenate([x.ravel() for x in p]) > v,
                                                    np.concatenate([x.ravel() for x in t]))
                                        for v in c])), "Two things at once. You pooled the pixels"),
        (lambda p, t, c: 0.4321, "A threshold is one of the candidates."),
        (lambda p, t, c: metrics.dsc(p[0], t[0]), "metrics.dsc: dsc takes masks of 0 and 1"),
        (lambda p, t, c: p > 0.5, "a list cannot be compared with a number"),
        (lambda p, t, c: np.stack(p).mean(), "three patients"),
        (lambda p, t, c: None, "is there a `return`?")]}

# Wrong in a way that no slip describes: what was expected is said, and nothing is guessed.
UNKNOWN = {
    "dsc_of_patient": [but(lambda s: s ** 2), but(lambda s: s / 3), but(lambda s: s + 0.01),
                       lambda p, t: float(p.mean()), lambda p, t: metrics.dsc(p[1:], t[1:]),
                       lambda p, t: 0.4, lambda p, t: 0.0, lambda p, t: 1.0],
    "training_step": [step("zero_grad backward step step"),
                      step(given=lambda logits, target: (2 * logits, target)),
                      step(given=lambda logits, target: (logits, 1 - target)),
                      step(give=lambda loss: 2 * loss.item()),
                      step(prepare=lambda model: model[0].requires_grad_(True) and
                           torch.nn.init.zeros_(model[0].weight))],
    "best_threshold": [lambda p, t, c: c[1], lambda p, t, c: threshold_by_loop(p, t, c[2:]),
                       lambda p, t, c: c[(list(c).index(threshold_by_loop(p, t, c)) + 1) % len(c)],
                       choosing(reduce=lambda scores: np.mean(scores[:2]) - scores[-1]),
                       lambda p, t, c: c[len(c) // 2]]}


@pytest.mark.parametrize(("name", "answer"), listed(RIGHT))
def test_right_answers_pass_however_they_are_written(name, answer):
    verdict = ask(name, answer)
    assert verdict.solved, verdict


@pytest.mark.parametrize(("name", "answer", "says"), listed(WRONG))
def test_wrong_answers_are_refused_with_their_cause(name, answer, says):
    verdict = ask(name, answer)
    assert verdict.solved is False and says in verdict.text, verdict


@pytest.mark.parametrize(("name", "answer"), listed(UNKNOWN))
def test_what_no_slip_explains_gets_no_diagnosis(name, answer):
    verdict = ask(name, answer)
    assert verdict.solved is False and "expected" in verdict.text, verdict
    assert "you returned" in verdict.text or "yours has" in verdict.text
    assert "Two things" not in verdict.text
    assert not names_a_slip(name, verdict.text)


@pytest.mark.parametrize("name", CODING)
def test_each_slip_is_named_for_what_it_does(name):
    for sentence, slip in parts_of(name)["slips"].items():
        verdict = ask(name, slip)
        assert verdict.solved is False and sentence in verdict.text, verdict


def test_there_are_answers_enough():
    assert all(len(RIGHT[name]) >= 5 and len(WRONG[name]) >= 12 for name in CODING)


@pytest.mark.parametrize("name", CODING)
@pytest.mark.parametrize("answer", [..., None, lambda *_: ...])
def test_what_was_not_attempted_is_said_to_be_open(name, answer):
    assert ask(name, answer).solved is None


def test_the_call_and_what_it_should_give_are_printed():
    def dsc_of_patient(prediction, target):
        return metrics.iou(prediction, target)

    def best_threshold(probabilities, targets, candidates):
        return 1

    assert check.dsc_of_patient(dsc_of_patient).text.startswith(
        "dsc_of_patient([[[1, 1, 1], [1, 0, 0]]], [[[1, 0, 0], [0, 1, 1]]]): expected 0.2857143, "
        "you returned 0.1666667. That is IoU")
    assert check.best_threshold(best_threshold).text == (
        "best_threshold([[[[0.9, 0.4]]], [[[0.7, 0.2]]]], [[[[1, 0]]], [[[1, 0]]]], [0.3, 0.5, "
        "0.6, 0.8]): expected 0.5, you returned 1. A threshold is one of the candidates.")


def test_a_patients_own_score_is_the_librarys():
    parts = parts_of("dsc_of_patient")
    for pair in parts["probes"].values():
        assert parts["right"](*pair) == pytest.approx(metrics.dsc(*pair), nan_ok=True)


def test_checking_a_step_leaves_generator_and_gradients_as_they_were():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    check.training_step(step("backward step"))
    assert torch.rand(1) == expected and torch.is_grad_enabled()


# --- faulty_loop, whose_score ---------------------------------------------------------------------

FAULTS = {"a": "eval mode", "b": "target", "c": "zero_grad"}


@pytest.mark.parametrize("change", [{}, {"a": "model.train() is missing"}, {"b": "masks of 0/255"},
                                    {"c": "optimizer.zero_grad()"}, {"c": "zero grad missing"}])
def test_the_faulty_loops(change):
    assert check.faulty_loop(FAULTS | change).solved


@pytest.mark.parametrize(("change", "says"), [
    ({"a": "none"}, "2 of 3 are right. a is not “none”: follow the network's mode"),
    ({"b": "zero_grad", "c": "target"}, "1 of 3 are right. b is not “zero_grad”: which values"),
    ({"c": "eval mode"}, "what does .grad hold"), ({"c": ...}, "still open: c"),
    ({"c": "learning rate"}, "is none of the words: zero_grad, eval mode, target, none")])
def test_the_faulty_loops_wrong(change, says):
    verdict = check.faulty_loop(FAULTS | change)
    assert verdict.solved is False and says in verdict.text, verdict


def test_whose_score():
    assert check.whose_score("b").solved and check.whose_score("b)").solved
    assert not any(check.whose_score(letter).solved for letter in "acdx")
    assert len({check.whose_score(letter).text for letter in "acd"}) == 3
