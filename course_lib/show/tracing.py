"""What feeds what in a network, read from one pass on PyTorch's meta device: shapes, no numbers."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

Arrow = tuple[str, str, int]       # from, to, halvings


def trace_network(model, shape: Sequence[int]) -> tuple[dict[str, tuple[int, ...]], list[Arrow]]:
    """Find the blocks of a network, and what feeds each.

    A block is a part with weights that makes one tensor of tensors: enc1, dec1, head. What holds
    blocks (a list, an encoder that returns its maps) is opened. A pooling or an up-convolution is
    no block: the arrow that passes through it counts it. "output" is what no block makes.

    Args:
        model: any torch module; its weights stay as they are.
        shape: of an image, (B, C, …).
    Returns:
        Block to (channels, side, …), in the order of the flow, from "image"; the arrows between
        them: from, to, and 1 for a side that is halved on the way, -1 if doubled, 0 if neither.
    """
    import torch

    weights = [*model.named_parameters(), *model.named_buffers()]
    calls = {}
    hooks = [module.register_forward_hook(partial(_note, calls, name))
             for name, module in model.named_modules()]
    try:
        with torch.enable_grad():                                # the graph tells what feeds what
            image = 1 * torch.empty(2, *shape[1:], device="meta", requires_grad=True)
            torch.func.functional_call(
                model, {name: value.detach().to("meta") for name, value in weights}, (image,))
    finally:
        for hook in hooks:
            hook.remove()
    blocks = set(_find_blocks(model, calls))
    maps = {"image": image} | {name: calls[name][0] for name in calls if name in blocks}
    owners = {output.grad_fn: name for name, output in maps.items()}
    if "" in calls and calls[""][0].grad_fn not in owners:       # a sum of heads, a sigmoid
        maps["output"] = calls[""][0]
    arrows = [(start, end, halvings) for end, output in maps.items()
              for start, halvings in _find_sources(output.grad_fn, owners).items()]
    return {name: tuple(output.shape[1:]) for name, output in maps.items()}, arrows


def _note(calls: dict, name: str, _, inputs: tuple, output) -> None:
    """Note a part's last call, a tensor of tensors: its output, and whether that is enlarged."""
    if all(hasattr(each, "grad_fn") for each in (output, *inputs)):
        calls.pop(name, None)                                    # the last call sets the order
        calls[name] = output, len(inputs) == 1 and output.shape[2:] > inputs[0].shape[2:]


def _find_blocks(module, calls: dict, prefix: str = "") -> Iterator[str]:
    """Find the outermost parts that have weights, make one tensor, and do not only enlarge it."""
    for name, child in module.named_children():
        if prefix + name not in calls:
            yield from _find_blocks(child, calls, f"{prefix}{name}.")
        elif next(child.parameters(), None) is not None and not calls[prefix + name][1]:
            yield prefix + name


def _find_sources(node, owners: dict) -> dict[str, int]:
    """Walk back through the graph to the blocks before: name to halvings on the way."""
    sources, ways, seen = {}, [(node, 0)], set()
    while ways:
        here, halvings = ways.pop()
        halvings += _halvings(here)
        for before, _ in here.next_functions:
            if before in owners:                                 # of two ways, the even one
                name = owners[before]
                sources[name] = min(sources.get(name, halvings), halvings, key=abs)
            elif before is not None and (before, halvings) not in seen:
                seen.add((before, halvings))
                ways.append((before, halvings))
    return sources


def _halvings(node) -> int:
    """Tell how often one operation halves the side; -1 where it doubles it."""
    if node.name().startswith("Upsample"):
        sides = zip(node._saved_output_size, node._saved_self_sym_sizes[2:], strict=True)
        return -round(math.log2(max(after / before for after, before in sides)))
    if "Pool" not in node.name() and "Convolution" not in node.name():
        return 0
    strides = getattr(node, "_saved_stride", ()) or getattr(node, "_saved_kernel_size", ())
    steps = round(math.log2(max(strides, default=1)))
    return -steps if getattr(node, "_saved_transposed", False) else steps
