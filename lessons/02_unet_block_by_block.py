# %% [markdown] tags=["title"]
# **Builds on** Python and a little PyTorch. Lesson 01 explains the data; here they are a given.

# %% tags=["setup"]

# %% [markdown]
# ## 1 · The blocks
#
# A classifier turns a picture into one answer: it pools until only *what* is left, and *where* is
# gone. Segmentation wants an answer for every pixel. The *fully convolutional network* (Long et al.
# 2015, [arXiv:1411.4038](https://arxiv.org/abs/1411.4038)) enlarges the coarse answer again and
# *adds* finer answers from shallower layers. *U-Net* (Ronneberger et al. 2015,
# [arXiv:1505.04597](https://arxiv.org/abs/1505.04597)) makes two changes. The way up becomes a
# network of its own, as wide as the way down. And the fine features are not added but laid beside
# the coarse ones, so that the next convolution decides what to make of both. Such a connection
# across is a *skip*.
#
# We need something to look at: the simulated twin of a brain MRI set, three channels a slice,
# tumour outlined. Patients are split before anything is learned.

# %%
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

DEVICE = settings.device()
PATIENTS, SIZE, STEPS = {"tiny": (8, 64, 20), "cpu": (24, 96, 80),
                         "gpu": (32, 96, 400)}[PROFILE]
folder = data.fetch("lgg-phantom", patients=PATIENTS)
split = data.split_patients([path.name for path in data.find_patients(folder)],
                            validation=0, test=0.25, seed=SEED)
training, test = (data.SliceDataset(folder, size=SIZE, patients=part, drop_ends=False)
                  for part in (split.training, split.test))
row = int(test.targets.sum(dim=(1, 2, 3)).argmax())       # the slice with most tumour
flair_window = show.find_window(test.prepared(test.index[row][0]).image[:, 1])
image, target = test.images[row:row + 1].float(), test.targets[row, 0].numpy()
print(f"{len(training)} slices to train, {len(test)} to test; "
      f"image {tuple(image.shape)}")

# %% [markdown]
# **Double convolution.** Twice: look at 3x3 pixels, bring the channels to a common scale (*batch
# normalisation*), cut off what is negative (*ReLU*). One pixel of padding keeps the size. A bias
# would be pointless: the normalisation subtracts the mean, and the bias with it.

# %%
def conv_norm_act(in_channels, out_channels, padding=1, bias=False):
    """(B, in, H, W) to (B, out, H, W); without padding to (B, out, H - 2, W - 2)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=bias),
        nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def double_conv(in_channels, out_channels, **layout):
    """(B, in, H, W) to (B, out, H, W): twice the above."""
    return nn.Sequential(conv_norm_act(in_channels, out_channels, **layout),
                         conv_norm_act(out_channels, out_channels, **layout))


ours, theirs = double_conv(3, 8), models.blocks.DoubleConv(3, 8)
ours.load_state_dict(theirs.state_dict())
torch.testing.assert_close(ours(image), theirs(image))
print(f"{tuple(image.shape)} to {tuple(ours(image).shape)}, the same as the library's")

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · Another block
#
# Difficulty 2/5 · 10 minutes
#
# Batch norm averages over the images of a batch and their pixels. With one or two images that
# average depends much on which images they are. Write `instance_block(in_channels, out_channels)`,
# which returns an `nn.Module`: the same six layers in the same order, convolutions without bias and
# size kept, but with instance norm (each image alone) *with a learned scale and shift*, and
# LeakyReLU of slope 0.01 instead of ReLU.

# %% [markdown] tags=["hints"]
# - `nn.Sequential` takes the six layers in order.
# - `nn.InstanceNorm2d` learns nothing unless you ask: look for `affine`.
# - A norm still follows each convolution. What does that mean for the bias?

# %% tags=["solution"]
def instance_block(in_channels, out_channels):
    """Twice: 3x3 convolution, instance norm, LeakyReLU.

    Convolutions have no bias and keep the size, norms are affine, the slope is 0.01.

    Returns:
        nn.Module from (B, in_channels, H, W) to (B, out_channels, H, W).
    """
    layers = []
    for channels in (in_channels, out_channels):
        layers += [nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
                   nn.InstanceNorm2d(out_channels, affine=True), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)


check.instance_block(instance_block)

# %% [markdown]
# **Down, up, skip, head.** *Down* is max pooling: of 2x2 pixels the largest stays. *Up* is a
# *transposed convolution*: each pixel paints a 2x2 patch, with weights that are learned. A *skip*
# takes the map from the way down that has the same size. The *head*, a 1x1 convolution, makes one
# *logit* of each pixel's channels: above 0 means tumour. Three ways to use a skip:

# %%
def concatenate(decoder, skip):
    """U-Net: channels side by side; (B, C, H, W) twice to (B, 2C, H, W)."""
    return torch.cat([decoder, skip], dim=1)


def add(decoder, skip):
    """As a fully convolutional network adds; (B, C, H, W) stays."""
    return decoder + skip


def nothing(decoder, skip):
    """No skip at all: the decoder has only what came through the bottleneck."""
    return decoder

# %% [markdown]
# **Up, another way.** Interpolation followed by a convolution also doubles the size. Why would
# anyone? We give three ways a perfectly flat input, with random positive weights, and look.

# %%
torch.manual_seed(SEED)
ways = {"transposed 3x3, stride 2": nn.ConvTranspose2d(4, 1, 3, stride=2, bias=False),
        "transposed 2x2, stride 2": nn.ConvTranspose2d(4, 1, 2, stride=2, bias=False),
        "interpolation, then 3x3": nn.Sequential(nn.Upsample(scale_factor=2),
                                                 nn.Conv2d(4, 1, 3, bias=False))}
flat = []
for name, way in ways.items():
    nn.init.uniform_(next(way.parameters()))
    middle = way(torch.ones(1, 4, 12, 12))[0, 0, 4:20, 4:20].detach().numpy()
    flat.append(middle / middle.mean())
    print(f"{name}: spread {flat[-1].std():.2f} of the mean")
show.contact_sheet(flat, titles=list(ways), columns=3, window=(0, 2),
                   alt="A flat input, enlarged in three ways: two checkerboards, one "
                       "flat picture.")

# %% [markdown]
# Left, the patches of a 3x3 kernel with stride 2 overlap, unevenly: a pixel gets one, two or four
# weights. Unless they happen to balance, that is a *checkerboard* (Odena et al. 2016,
# [doi:10.23915/distill.00003](https://doi.org/10.23915/distill.00003)). Middle, U-Net's 2x2 kernel:
# no overlap, but the four weights differ, so the pattern is there before training. Right,
# interpolation: flat. What this does not show: whether it matters after training. Four weights can
# learn to be equal, and two convolutions follow that can smooth. nnU-Net (a program that sets up a
# U-Net for a data set by itself; lesson 08) and this library keep transposed convolutions.

# %% [markdown]
# ## 2 · The whole
#
# Four levels down, each with half the side and twice the channels; a *bottleneck*; four levels up.
# First the blocks, with names after
# [brain-segmentation-pytorch](https://github.com/mateuszbuda/brain-segmentation-pytorch): `enc` on
# the way down, `dec` on the way up. `double` is 2 where skips are concatenated: then the decoder's
# blocks take in twice the channels.

# %%
def make_blocks(in_channels, out_channels, f, double=2, **layout):
    """All blocks by name; f channels at the top."""
    blocks, inputs = nn.ModuleDict(), in_channels
    for level, width in enumerate([f, 2 * f, 4 * f, 8 * f], start=1):
        blocks[f"enc{level}"] = double_conv(inputs, width, **layout)
        blocks[f"up{level}"] = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        blocks[f"dec{level}"] = double_conv(double * width, width, **layout)
        inputs = width
    blocks["bottleneck"] = double_conv(8 * f, 16 * f, **layout)
    blocks["head"] = nn.Conv2d(f, out_channels, 1)
    return blocks

# %% [markdown]
# Then the wiring. Read it beside figure 1 of the paper: the left arm downwards, the right arm
# upwards, and each `join` is one of the grey arrows across.

# %%
def wire(net, image, join):                                      # (B, C, H, W)
    """The map of every level, by name, from the image to the logits."""
    down = functional.max_pool2d
    enc1 = net.enc1(image)                                       # (B, f, H, W)
    enc2 = net.enc2(down(enc1, 2))                               # (B, 2f, H/2, W/2)
    enc3 = net.enc3(down(enc2, 2))                               # (B, 4f, H/4, W/4)
    enc4 = net.enc4(down(enc3, 2))                               # (B, 8f, H/8, W/8)
    bottleneck = net.bottleneck(down(enc4, 2))                   # (B, 16f, H/16, W/16)
    dec4 = net.dec4(join(net.up4(bottleneck), enc4))             # (B, 8f, H/8, W/8)
    dec3 = net.dec3(join(net.up3(dec4), enc3))                   # (B, 4f, H/4, W/4)
    dec2 = net.dec2(join(net.up2(dec3), enc2))                   # (B, 2f, H/2, W/2)
    dec1 = net.dec1(join(net.up1(dec2), enc1))                   # (B, f, H, W)
    return {"enc1": enc1, "enc2": enc2, "enc3": enc3, "enc4": enc4,
            "bottleneck": bottleneck, "dec4": dec4, "dec3": dec3, "dec2": dec2,
            "dec1": dec1, "logits": net.head(dec1)}

# %%
class Net(nn.ModuleDict):
    """Blocks and their wiring in one; `join` is what we vary."""

    def __init__(self, join, in_channels=3, out_channels=1, features=8, **layout):
        one = torch.empty(1, 1, 1, 1)
        double = join(one, one).shape[1]                # 2 if channels are concatenated
        super().__init__(
            make_blocks(in_channels, out_channels, features, double, **layout))
        self.join = join

    def forward(self, image):
        return wire(self, image, self.join)["logits"]

# %% [markdown]
# Is that the library's `models.UNet`? With the same weights, it must give the same logits.

# %%
ours, theirs = Net(concatenate), models.UNet(in_channels=3, out_channels=1, features=8)
ours.load_state_dict(theirs.state_dict())               # names and shapes must agree
torch.testing.assert_close(ours(image), theirs(image))
levels = wire(ours, image, concatenate)
tables.Table([{"level": name, "channels": level.shape[1], "side": level.shape[2],
               "numbers": level.numel()} for name, level in levels.items()])

# %% [markdown]
# Each step down halves the side and doubles the channels, so a level holds half the numbers of the
# one above. The bottleneck knows a lot about few places; the way back up trades the one for the
# other. Every skip joins two maps of the same size, which only works if the side can be halved four
# times: it must be divisible by 16.

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · Count by hand
#
# Difficulty 3/5 · 15 minutes
#
# Write `parameters_by_hand(in_channels, out_channels, features)`: how many parameters our U-Net
# has, by arithmetic. A 3x3 convolution has 9·in·out weights; with 32 features, 3 channels in and
# one out the sum is 7,763,041, as in brain-segmentation-pytorch.

# %% [markdown] tags=["hints"]
# - Nine double convolutions: which widths go in, which come out? Down: in → f → 2f → 4f → 8f → 16f.
# - In the decoder, twice the block's width goes in: half from below, half from the skip.
# - A norm has two numbers per channel. A convolution before it has no bias.
# - An up-convolution from 2w to w channels: 4·2w·w weights and w biases. The head has a bias, too.

# %% tags=["solution"]
def parameters_by_hand(in_channels, out_channels, features):
    """Number of trained parameters of models.UNet with these arguments."""
    f = features
    widths = [f, 2 * f, 4 * f, 8 * f, 16 * f]
    down = list(zip([in_channels, *widths[:4]], widths, strict=True))
    up = [(2 * width, width) for width in widths[:4]]            # after concatenation
    blocks = sum(9 * i * o + 9 * o * o + 4 * o for i, o in down + up)
    ups = sum(4 * 2 * width * width + width for width in widths[:4])
    head = f * out_channels + out_channels
    return blocks + ups + head


check.parameters_by_hand(parameters_by_hand)

# %% [markdown]
# ## 3 · What skips bring
#
# Three networks, alike but for `join`, each trained on the same slices in the same order. Studied:
# the skip. Held fixed: optimiser, learning rate, steps, patients. Not held fixed: the number of
# parameters (without concatenation the decoder's blocks take in half as much), and with it the
# random start.
#
# Each step draws 16 slices (patients evenly, slices with tumour more often), turns, scales and
# mirrors them (`Affine`), and lowers a loss that adds pixel-wise error and overlap (`BCEDice`,
# lesson 04). The learning rate falls along a cosine.
#
# **Forecast.** Which mean DSC (0 no overlap, 1 perfect) does each reach on the test patients?

# %%
check.forecast("02-skips", {"nothing": None, "add": None, "concatenate": None},
               reason="")

# %%
def train_net(join, training, steps, seed):
    """A network after so many steps; which slices it sees depends on the seed alone."""
    torch.manual_seed(seed)
    net, random = Net(join).to(DEVICE).train(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    odds = training.sampling_weights()
    for rows in torch.multinomial(odds, 16 * steps, True, generator=random).split(16):
        seen, wanted = augment.Affine()(*training[rows], random)
        loss = losses.BCEDice()(net(seen.float().to(DEVICE)), wanted.to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()

# %%
def mean_of(rows, network):
    """Mean DSC of one network over the rows of a table."""
    return float(np.nanmean([r["dsc"] for r in rows if r["network"] == network]))


nets, small = {}, []
for join in (nothing, add, concatenate):
    start = time.perf_counter()
    nets[join.__name__] = net = train_net(join, training, STEPS, SEED)
    scored = predict.evaluate(predict.Predictor(net, training.preparation), test)
    small += [{"network": join.__name__, "seed": SEED} | row for row in scored]
    count = sum(weight.numel() for weight in net.parameters())
    seconds = time.perf_counter() - start
    print(f"{join.__name__:12} {count:,} parameters, {seconds:.0f} s")

# %%
check.outcome("02-skips", {name: mean_of(small, name) for name in nets})

# %% [markdown]
# That was one short training each, on few patients. Before you believe the order: another seed
# starts from other weights and sees other slices; other patients are easier or harder. So there is
# a script that runs the same code longer, with several seeds (benchmarks/skips.py). Where its
# scores are stored with the course, the next cell reads them; else it goes on with those from
# above.

# %%
import csv
import importlib.resources

saved = importlib.resources.files("course_lib") / "saved" / "lesson_02_skips.csv"
rows = small
if saved.is_file():
    how, *lines = saved.read_text("utf-8").splitlines()
    rows = [{**r, "dsc": float(r["dsc"])} for r in csv.DictReader(lines)]
print(how if saved.is_file() else "no saved run: these are the scores from above")
for name in nets:
    seeds = [mean_of([r for r in rows if r["seed"] == seed], name)
             for seed in sorted({r["seed"] for r in rows})]
    print(f"{name:12} mean DSC {np.mean(seeds):.3f}; "
          f"by seed {np.round(seeds, 3).tolist()}")

# %% [markdown]
# For the *paired difference* we take each patient's mean over the seeds for both networks and
# subtract: an easy patient is easy for both and falls out. The bootstrap interval says how far the
# mean difference might move with other patients of the same kind.

# %%
def by_patient(network):
    """DSC of each patient, the mean over seeds."""
    names = sorted({r["patient"] for r in rows})
    return np.array([mean_of([r for r in rows if r["patient"] == name], network)
                     for name in names])


differences = {f"concatenate - {other}": by_patient("concatenate") - by_patient(other)
               for other in ("nothing", "add")}
for name, values in differences.items():
    low, high = stats.bootstrap_interval(values)
    print(f"{name}: {np.nanmean(values):+.3f} (95 % interval {low:+.3f} to "
          f"{high:+.3f}, {len(values)} patients)")
show.dots(differences, xlabel="difference of DSC, one dot a patient",
          alt="Differences of DSC between concatenation and the two other ways.")

# %% [markdown]
# One dot per patient; the black bar is their *median*, the printed number their *mean* (one far
# patient moves only the mean). Right of 0 concatenation is better for that patient. Read the
# interval, not the mean: if it holds 0, these patients cannot tell the two apart. If it does not,
# they can, on this twin, at this budget, for networks this small. The interval knows nothing of
# other data, and little of other seeds; with a handful of patients it is itself a rough guess
# (lesson 06). In its own experiments the U-Net paper did not make this comparison.
#
# With the scores stored with the course both intervals hold 0. Without skips the mean is the lowest
# with two of three seeds, and adding does as well as concatenating: twelve patients and three seeds
# do not tell these three apart. That is a finding, too.

# %% [markdown]
# ## 4 · What the levels see
#
# "Shallow layers see edges, deep layers see meaning" is said so often that nobody looks. We look:
# at the liveliest channels of each level (largest standard deviation), in the network with
# concatenation.

# %%
net = nets["concatenate"].cpu()
with torch.no_grad():
    levels = wire(net, image, concatenate)


def show_level(*names):
    """A slice with its target, and the liveliest channels of one or two levels."""
    maps, titles = [image[0, 1].numpy()], ["FLAIR, target"]
    for name in names:
        spread = levels[name][0].flatten(1).std(dim=1)
        for channel in spread.argsort(descending=True)[:4 // len(names)].tolist():
            maps.append(levels[name][0, channel].numpy())
            titles.append(f"{name}, channel {channel}, {len(maps[-1])} px")
    return show.contact_sheet(
        maps, targets=[target] + [None] * (len(maps) - 1), titles=titles, columns=5,
        window=[flair_window] + [None] * (len(maps) - 1),     # maps: their own ranges
        alt=f"The liveliest channels of {' and '.join(names)}.")


show_level("enc1", "dec1")

# %% [markdown]
# Level 1, the image's own size. On the way down (`enc1`) the slice is still there, brighter or
# darker, with its contours. On the way up (`dec1`) most of it is gone; the tumour stands out.

# %%
show_level("enc2", "dec2")

# %% [markdown]
# Level 2, half the side. Contours are thicker, areas fill. Look for a grid of dots on the way up:
# it is the checkerboard of section 1, in a network that has been trained, if briefly.

# %%
show_level("enc3", "dec3")

# %% [markdown]
# Level 3, a quarter of the side. Fine lines are gone.

# %%
show_level("enc4", "dec4")

# %% [markdown]
# Level 4, an eighth. A map is now a rough plan: its pixels lie 8 pixels of the image apart.

# %%
show_level("bottleneck")

# %% [markdown]
# The bottleneck, a sixteenth of the side. Look where it is bright: often not at the tumour. The
# liveliest channel need not be about the tumour, and what it means cannot be read off a picture. So
# we measure: for each level, the channel that follows the *edges* of FLAIR most
# closely, and the one that follows the *tumour*. Channels are chosen on training slices and
# measured on test slices, else the level with most channels would win by luck.

# %%
def correlation(maps, wanted):
    """Of each channel (N, C, h, w) with a picture (N, 1, H, W), shrunk to its size."""
    wanted = functional.adaptive_avg_pool2d(wanted, maps.shape[2:])
    maps, wanted = (part.transpose(0, 1).flatten(1) for part in (maps, wanted))
    maps, wanted = (part - part.mean(dim=1, keepdim=True) for part in (maps, wanted))
    return (maps * wanted).sum(dim=1) / (maps.norm(dim=1) * wanted.norm(dim=1) + 1e-9)


@torch.no_grad()
def follow(net, dataset):
    """Level to the correlations of its channels with edges and with the tumour."""
    rows = dataset.targets.sum(dim=(1, 2, 3)).argsort(descending=True)[:40]
    seen, tumour = dataset.images[rows].float(), dataset.targets[rows].float()
    slopes = torch.gradient(seen[:, 1:2], dim=(2, 3))
    edges = sum(slope.square() for slope in slopes).sqrt()
    return {name: (correlation(maps, edges), correlation(maps, tumour))
            for name, maps in ({"image": seen} | wire(net, seen, net.join)).items()}

# %%
def best(net):
    """Level to what the channel that training slices choose reaches on test slices."""
    chosen, measured = follow(net, training), follow(net, test)
    return {name: [float(values[choice.abs().argmax()].abs())
                   for values, choice in zip(measured[name], chosen[name], strict=True)]
            for name in measured}


with_skips, without = best(net), best(nets["nothing"].cpu())
tables.Table([{"level": name,
               "edges": with_skips[name][0], "tumour": with_skips[name][1],
               "edges, no skips": without[name][0],
               "tumour, no skips": without[name][1]}
              for name in with_skips])

# %% [markdown]
# 1 would be a map that *is* the edges, or the tumour. The first row is the image itself: FLAIR
# alone follows the tumour to some degree, for most tumours are bright, and brightness is no deep
# idea. Compare the bottlenecks (in profile cpu; tiny trains too briefly). Without skips everything
# must pass through it, and it follows the tumour best. With skips it may follow it least: there are
# ways around it. So "deep means meaning" is not a law of depth, but depends on what the network
# needs. Then compare the edges on the way up: without skips they are lost, skips bring them back.
# Compare within a row: further down the tumour is averaged to coarser pixels, so rows are not quite
# alike. One network each, one twin, single channels: a hint, no law.
#
# **How far does it see?** A 3x3 convolution looks one pixel further on each side; after a pooling
# one step covers twice as many pixels of the image. What a pixel can see at most is its *receptive
# field*.
#
# **Forecast.** How many pixels of the image, from edge to edge, can one pixel of the bottleneck
# see? And how wide is the square that holds 90 % of what moves one logit of the trained network?

# %%
check.forecast("02-reach", {"bottleneck": None, "90 % of a logit": None}, reason="")

# %%
reach, step, sees, apart = 1, 1, {}, {}
for name in ("enc1", "enc2", "enc3", "enc4", "bottleneck"):
    reach += 2 * 2 * step                                # two convolutions
    sees[name], apart[name] = reach, step
    reach, step = reach + step, 2 * step                 # and a pooling

# %%
def moved_by(net, image, name, place):
    """How strongly each pixel of the image moves one pixel of a level: (H, W)."""
    image = image.clone().requires_grad_()
    wire(net, image, concatenate)[name][..., place[0], place[1]].sum().backward()
    return image.grad.abs().sum(dim=(0, 1))


open_net = Net(concatenate, 1, 1, 2).eval()
for weight in open_net.parameters():
    weight.data.abs_()                                   # so that no ReLU blocks a way
measured = {}
for name, place in (("bottleneck", (7, 7)), ("logits", (112, 112))):
    gradient = moved_by(open_net, torch.rand(16, 1, 224, 224), name, place)
    measured[name] = int((gradient.sum(dim=0) > 0).sum())
assert measured["bottleneck"] == sees["bottleneck"]

# %%
middle = np.argwhere(target).mean(axis=0).round().astype(int)   # of the tumour
gradient = moved_by(net, image, "logits", middle)
rows_away, columns_away = (abs(torch.arange(SIZE) - int(m)) for m in middle)
away = torch.maximum(rows_away[:, None], columns_away[None])
shares = [float(gradient[away <= r].sum() / gradient.sum()) for r in range(SIZE)]
width = 2 * next(r for r, share in enumerate(shares) if share >= 0.9) + 1
check.outcome("02-reach", {"bottleneck": measured["bottleneck"],
                           "90 % of a logit": width})

# %%
for name in sees:
    print(f"{name:10} sees {sees[name]} pixels, its pixels lie {apart[name]} apart")
print(f"pixels from edge to edge, by gradient: {measured}")
show.contact_sheet([image[0, 1].numpy(), gradient.sqrt().numpy()],
                   targets=[target, None], window=[flair_window, None], columns=2,
                   titles=["FLAIR, target",
                           "what moves the logit in its middle (square root)"],
                   alt="A slice, and the gradient of one logit with respect to it.")

# %% [markdown]
# Bright is what moves the logit in the tumour's middle. The field that is possible is larger than
# the picture; the one that is used is small and fades outwards (Luo et al. 2016,
# [arXiv:1701.04128](https://arxiv.org/abs/1701.04128)). This is one pixel of one slice, after a
# short training. Note also that skips do not widen the field: the widest way leads through the
# bottleneck.

# %% [markdown]
# ## 5 · Without padding: 572 gives 388
#
# Our convolutions are padded with zeros, so that the output is as large as the image. The paper's
# are not (*valid* padding): each takes one pixel off each border. No invented pixels, but the map
# shrinks at every block, the skips are larger than what comes from below and must be cropped, and
# the prediction is smaller than the image. `models.UNet.ronneberger()` is that network. On
# PyTorch's *meta* device, tensors have shapes but no numbers: the walk costs nothing.

# %%
def sides(net, join):
    """The side of every level for an image of 572 pixels."""
    with torch.device("meta"):
        return {name: maps.shape[2] for name, maps in
                wire(net, torch.empty(1, 1, 572, 572), join).items()}


with torch.device("meta"):
    paper = models.UNet.ronneberger()
cropped = sides(paper, models.unet.join)                # the library's join crops
assert cropped["logits"] == 388
print(cropped)

# %% [markdown]
# 572 loses 4 in the first block: 568. Half of it is 284, less 4 is 280, and so on to 28 at the
# bottom; then doubling, less 4, four times: 388. To segment a large image, one cuts it into
# overlapping tiles and mirrors it at its borders.
#
# It can be done the other way round: do not crop the skip, but pad what comes from below with zeros
# to the skip's size, as the widely used
# [Pytorch-UNet](https://github.com/milesial/Pytorch-UNet) does wherever the two differ (its
# convolutions are padded, so there they seldom do). With valid convolutions:

# %%
def pad_and_join(decoder, skip):
    """Zeros around the decoder's map up to the skip's size, then concatenate."""
    rows, columns = skip.shape[2] - decoder.shape[2], skip.shape[3] - decoder.shape[3]
    return concatenate(functional.pad(decoder, [columns // 2, columns - columns // 2,
                                                rows // 2, rows - rows // 2]), skip)


padded = sides(paper, pad_and_join)
assert padded["logits"] == 564
print(padded)

# %% [markdown]
# 564 instead of 388, from the same weights. At the bottom 56 pixels are padded to 64, further up
# 552 to 568. The price: near the border the decoder works on zeros that stand for nothing, and
# relies on the skip alone.
#
# The parameters depend on neither. But they do depend on norm and bias, and so several numbers for
# "the U-Net" are in use:

# %%
with torch.device("meta"):
    layouts = {"the paper's: bias, no norm, two outputs": paper,
               "the same with one output": models.UNet(1, 1, features=64, norm=None,
                                                       padding="valid"),
               "batch norm and bias, one output": Net(concatenate, 1, 1, 64, bias=True),
               "batch norm without bias: the library's": models.UNet(1, 1, features=64)}
counts = {name: sum(weight.numel() for weight in net.parameters())
          for name, net in layouts.items()}
assert list(counts.values()) == [31_030_658, 31_030_593, 31_042_369, 31_036_481]
for name, count in counts.items():
    print(f"{name:40} {count:,}")

# %% [markdown]
# The third is what [Pytorch-UNet](https://github.com/milesial/Pytorch-UNet) had with
# `UNet(1, 1, bilinear=False)` until December 2021, when commit 514f18e took away the biases before
# the norms; the fourth is what it has since. If two such counts differ in the last digits, look at
# biases, norms and channels first.

# %% [markdown] tags=["exercise"]
# ### Exercise 3 · A shape puzzle
#
# Difficulty 2/5 · 10 minutes
#
# Write `valid_side(side, levels)`: the side of the output of a U-Net with valid padding and so many
# poolings (skips cropped). Return 0 where a side is odd before a pooling, or nothing is left.

# %% [markdown] tags=["hints"]
# - Less 4, half, as often as there are levels; less 4 at the bottom; double, less 4.
# - `side % 2` tells odd from even. 570 - 4 = 566, half of it is 283, less 4 is 279: odd.
# - `max(side, 0)` at the end.

# %% tags=["solution"]
def valid_side(side, levels):
    """Side of the output with valid padding; 0 where the size does not work.

    Args:
        side: of the square image, in pixels.
        levels: number of poolings; 4 in the paper.
    """
    for _ in range(levels):
        side -= 4
        if side % 2:
            return 0
        side //= 2
    side -= 4
    for _ in range(levels):
        side = 2 * side - 4
    return max(side, 0)


check.valid_side(valid_side)

# %% [markdown] tags=["exercise"]
# ### Exercise 4 · A skip that is cropped
#
# Difficulty 2/5 · 10 minutes
#
# Write `crop_and_join(decoder, skip)`: cut the middle out of the skip, as large as the decoder's
# map, and concatenate, the decoder's channels first. Height and width may differ.

# %% [markdown] tags=["hints"]
# - The first row to keep is half the difference of the heights. The same for columns.
# - `skip[:, :, cut:-cut]` is empty where `cut` is 0. Better `cut:cut + height`.
# - Channels are axis 1.

# %% tags=["solution"]
def crop_and_join(decoder, skip):
    """The skip's middle beside the decoder's map.

    Args:
        decoder: (B, C, H, W).
        skip: (B, C', H', W') with H' >= H and W' >= W; the differences are even.
    Returns:
        (B, C + C', H, W), the decoder's channels first.
    """
    height, width = decoder.shape[2:]
    top, left = (skip.shape[2] - height) // 2, (skip.shape[3] - width) // 2
    return torch.cat([decoder, skip[:, :, top:top + height, left:left + width]], dim=1)


check.crop_and_join(crop_and_join)

# %% [markdown]
# ## 6 · What it costs
#
# The unit of cost is the *multiply-add*: a convolution needs, for each pixel of its output, one for
# each of its weights. We count with PyTorch's counter (it counts multiplication and addition apart,
# so its number is twice ours; norms, ReLU and biases it leaves out), for the variant that gives
# 564, with batch norm and biases: the one for which we have torchinfo's numbers to compare.
#
# **Forecast.** Which share of the multiply-adds falls to the top level (`enc1`, `up1`, `dec1`)? And
# which share of the parameters?

# %%
check.forecast("02-cost", {"multiply-adds": None, "parameters": None}, reason="")

# %%
with torch.device("meta"):
    wide = Net(pad_and_join, 1, 1, 64, padding=0, bias=True)
    large = torch.empty(1, 1, 572, 572)
with FlopCounterMode(display=False) as counter:
    wide(large)
exact = {name: sum(counter.get_flop_counts()[f"Net.{name}"].values()) / 2
         for name in wide}
owned = {name: sum(weight.numel() for weight in block.parameters())
         for name, block in wide.items()}


def share_of_top(cost):
    return sum(cost[name] for name in ("enc1", "up1", "dec1")) / sum(cost.values())


check.outcome("02-cost", {"multiply-adds": share_of_top(exact),
                          "parameters": share_of_top(owned)})

# %%
for name in exact:
    print(f"{name:10} {exact[name] / 1e9:6.2f} G multiply-adds, "
          f"{owned[name]:>10,} parameters")
print(f"together {sum(exact.values()) / 1e9:8.2f} G multiply-adds, "
      f"{sum(owned.values()):>10,}")
for level in "1234":
    together = sum(exact[part + level] for part in ("enc", "up", "dec"))
    print(f"level {level}: {together / 1e9:.1f} G")

# %% [markdown]
# The four levels (`enc`, `up` and `dec` together) cost about the same. A level further down has a
# quarter of the pixels and four times the weights, so the work stays, while the parameters pile up
# at the bottom. Of the work, the decoder takes the larger part, for it reads the skips as well. A
# smaller image saves work but no parameter; fewer features save both.
#
# The popular tool torchinfo (1.8.0) prints 233.39 G for this network. Its rule: parameters, biases
# included, times pixels of the *output*. For a transposed convolution with stride 2 that is four
# times too much: of its 2x2 weights only one falls on each output pixel. Let us apply the rule.

# %%
rule, outputs = {}, {}


def keep(layer, _, output):
    """torchinfo's rule for one layer; the numbers it puts out."""
    pixels = output.shape[2] * output.shape[3] if "Conv" in type(layer).__name__ else 1
    rule[layer] = pixels * sum(weight.numel() for weight in layer.parameters())
    outputs[layer] = output.numel()


for layer in wide.modules():
    if list(layer.parameters(recurse=False)):
        layer.register_forward_hook(keep)
wide(large)
print(f"torchinfo's rule: {sum(rule.values()) / 1e9:.2f} G")
assert round(sum(rule.values()) / 1e9, 2) == 233.39
assert round(sum(exact.values()) / 1e9, 2) == 208.27

# %%
ups = 3 * sum(exact[name] for name in exact if name.startswith("up"))
biases = sum(outputs[layer] for layer in rule if getattr(layer, "kernel_size", None))
norms = sum(rule[layer] for layer in rule if isinstance(layer, nn.BatchNorm2d))
print(f"exact {sum(exact.values()) / 1e9:.2f}, too much for up-convolutions "
      f"{ups / 1e9:.2f}, biases {biases / 1e9:.2f}, norms {norms / 1e9:.5f} G")
assert sum(exact.values()) + ups + biases + norms == sum(rule.values())

# %% [markdown]
# The difference is explained to the last operation. Who compares architectures by such a table
# compares, in part, how they go up.
#
# **Memory.** torchinfo also estimates it, in MB: input 1.31, forward/backward pass 2,683.30,
# parameters 124.17, together 2,808.78. Its rule: what every layer with parameters puts out, times
# two for the backward pass, four bytes each.

# %%
numbers = large.numel(), 2 * sum(outputs.values()), sum(owned.values())
inputs, passes, weights = (4 * number / 1e6 for number in numbers)
print(f"input {inputs:.2f}, passes {passes:.2f}, parameters {weights:.2f}, "
      f"total {inputs + passes + weights:.2f} MB")

kept = {}
own = {id(x) for x in wide.state_dict(keep_vars=True).values()}   # there anyway
with torch.autograd.graph.saved_tensors_hooks(
        lambda x: x if id(x) in own else kept.setdefault(x.untyped_storage()._cdata, x),
        lambda x: x):
    wide(large)
print(f"what autograd keeps for the backward pass: "
      f"{sum(x.untyped_storage().nbytes() for x in kept.values()) / 1e6:,.2f} MB")

# %% [markdown]
# The estimate comes out, and it is no measurement. PyTorch keeps a map once, not twice, and shares
# it between layers; on the other hand it keeps what pooling and concatenation put out, and where
# each maximum was, which the rule leaves out. And a training holds more than that: a gradient for
# each weight, and what the optimiser remembers (Adam: two numbers for each weight).

# %% [markdown] tags=["exercise"]
# ### Exercise 5 · The memory of a training
#
# Difficulty 1/5 · 5 minutes
#
# Write `training_memory(outputs, parameters, moments)`: MB (a million bytes) in float32 for the
# outputs that are kept (once), the weights, their gradients, and `moments` numbers per weight that
# the optimiser keeps: 0 for plain SGD, 1 with momentum, 2 for Adam.

# %% [markdown] tags=["hints"]
# - float32 is four bytes.
# - Per weight: itself, its gradient, and the moments.

# %% tags=["solution"]
def training_memory(outputs, parameters, moments):
    """MB that a training step in float32 holds.

    Args:
        outputs: how many numbers are kept for the backward pass.
        parameters: how many weights there are.
        moments: numbers that the optimiser keeps for each weight.
    Returns:
        float, in units of 1,000,000 bytes.
    """
    return 4 * (outputs + parameters * (2 + moments)) / 1e6


check.training_memory(training_memory)

# %% [markdown]
# ## 7 · Why medicine? Claims to judge
#
# You may read that U-Net suits medical images, for three reasons. What do we know of each?
#
# *It needs few images.* The paper's first task had 30 training images of 512x512 pixels. But each
# pixel is an example, and the authors credit heavy augmentation (elastic deformations) as well. Our
# lesson compares no other network on few images, so it can say nothing for or against.
#
# *Medical images are simply built:* one view, organs in their place. Plausible for organs. A tumour
# may be anywhere. We measured nothing about it.
#
# *Shallow and deep features are fused.* Of this we measured something: sections 3 and 4. That is
# not yet "therefore it is good in medicine": nothing in it is about medicine.

# %% [markdown] tags=["exercise"]
# ### Exercise 6 · One claim stands
#
# Difficulty 2/5 · 5 minutes · no code
#
# Which of these is supported by what was computed here?
#
# - **a** "U-Net gets by with few images because it has few parameters."
# - **b** "Skips enlarge the receptive field; that is why they help."
# - **c** "On this twin and at this budget, the interval in section 3 tells how far networks with
#   and without skips lie apart; other data have yet to be measured."
# - **d** "In the small comparison one way of joining came out on top; so it is the better one."

# %% [markdown] tags=["hints"]
# - How many parameters has the paper's U-Net?
# - Which way from the image to a logit is the widest?
# - How many trainings of each were there in the small comparison?

# %% tags=["solution"]
answer = "c"

check.judge_the_claim(answer)

# %% [markdown]
# ## Summary
#
# A U-Net is five blocks, wired: double convolution, down, up, skip, head. Half the side and twice
# the channels at each level, joined by skips of the same size. Without padding 572 pixels give 388.
# Every level costs about as much work, but the deep ones hold the parameters, and tools that count
# disagree for a reason. What skips bring is a measurement with an interval, not a saying.
#
# **What we left out.** Dropout and the weighted loss of the paper; elastic deformation; strided
# convolutions instead of pooling; residual blocks; 3D (`dim=3`, lesson 07).
#
# **Read next.** Ronneberger et al. 2015, section 2, beside `course_lib/models/unet.py`.
# **Next lesson:** 03, the brain MRI task.

# %%
check.summary("02")
