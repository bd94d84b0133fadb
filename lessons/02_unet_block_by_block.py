# %% [markdown] tags=["title"]
# **Builds on** Python and a little PyTorch. Lesson 01 explains the data; here they are a given.

# %% tags=["setup"]

# %% [markdown]
# ## 1 · The blocks
#
# A classifier turns a picture into one answer: it shrinks the picture until *where* is gone and
# only *what* is left. Segmentation wants an answer for every pixel. The *fully convolutional
# network* (Long et al. 2015, [arXiv:1411.4038](https://arxiv.org/abs/1411.4038)) enlarges the
# coarse answer again and *adds* finer answers from earlier layers. *U-Net* (Ronneberger et al.
# 2015, [arXiv:1505.04597](https://arxiv.org/abs/1505.04597)) makes two changes. The way up becomes
# a network of its own, as wide as the way down. And the fine maps are not added but laid beside the
# coarse ones, so that the next layer decides what to make of both. Such a connection across is a
# *skip*.
#
# We need something to look at: slices of brain scans with a tumour, real ones (`"lgg-mri"`) or
# their simulated twin. `SliceDataset` brings all to one *prepared grid*: cut to the head, resized,
# and each channel of each patient shifted and scaled by its mean and standard deviation,
# $z = (x - \mu) / \sigma$. Patients are split before anything is learned.

# %%
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

NAME = "lgg-phantom"              # or "lgg-mri"
DEVICE = settings.device()
PATIENTS, SIZE, STEPS = {"tiny": (8, 64, 20), "cpu": (24, 96, 80),
                         "gpu": (32, 96, 400)}[PROFILE]
NOTE = "Profile tiny: too short and too small, no evidence\n" * (PROFILE == "tiny")
folder = data.fetch(NAME, patients=PATIENTS)
everyone = data.SliceDataset(folder, size=SIZE, drop_ends=False)
names = [n for n in everyone.patients if everyone.prepared(n).target.any()]
check.enough_patients("02", names, "with tumour")
split = data.split_patients(names, validation=0, test=0.25, seed=SEED)
training, test = everyone.subset(split.training), everyone.subset(split.test)
print(f"{len(split.training)} patients with tumour to train, {len(split.test)} to test")

# %%
row = int(test.targets.sum(dim=(1, 2, 3)).argmax())       # the slice with most tumour
image, target = test.images[row:row + 1].float(), test.targets[row, 0].numpy()
scan = test.prepared(test.index[row][0]).image            # (S, C, H, W): all S slices
windows = [show.find_window(scan[:, channel]) for channel in range(3)]
flair = image[0, 1].numpy()
print(f"image {tuple(image.shape)}; FLAIR: median {np.median(flair[target > 0]):.1f} "
      f"inside the outline, {np.median(flair):.1f} in the whole slice")
show.contact_sheet(list(image[0].numpy()), targets=[target] * 3, window=windows,
                   titles=["T1", "FLAIR", "T1, contrast agent"], columns=3,
                   alt="The slice with most tumour, in three channels.")

# %% [markdown]
# The slice with most tumour, in its three *channels*, each in the grey window of that patient and
# channel. T1 and FLAIR are two ways to run the scanner; in FLAIR water is dark and most tumours are
# bright. The third is T1 again, after a *contrast agent* was injected, a dye that leaks out where
# vessels are damaged: a quarter of the twin's tumours have a bright ring there. The outline is
# the *target*, what a network should find. Not all that is bright in FLAIR is tumour: there is fat
# under the skin, and the twin, like many brains, has small harmless spots that nobody outlines
# (*distractors*). Where a sequence was never taken, FLAIR stands in its place.
#
# **Double convolution.** Twice the same: a 3x3 *convolution* makes each pixel a weighted sum of 3x3
# pixels of all channels below. *Batch norm* brings each channel to mean 0 and standard deviation 1
# over all images of the batch (those computed together) and their pixels, then scales and shifts it
# by two numbers that are learned. *ReLU* sets what is negative to 0. A convolution with kernels of
# $k \times k$ pixels and $p$ pixels of zeros around the image (*padding*) has so many weights, and
# makes so large a side $s'$ of a side $s$:
#
# $$k^2 \, c_\text{in} \, c_\text{out} \quad (+ \, c_\text{out} \text{ with bias}),
# \qquad s' = s - k + 1 + 2p.$$
#
# With $k = 3$ and $p = 1$ the size stays. A bias would be pointless: the norm subtracts the mean,
# and the bias with it. Shapes are (B, C, H, W): images in the batch, channels, height, width.

# %%
def conv_norm_act(in_channels, out_channels, padding, bias):
    """(B, in, H, W) to (B, out, H, W); without padding to (B, out, H - 2, W - 2)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=bias),
        nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


def double_conv(in_channels, out_channels, padding=1, bias=False):
    """(B, in, H, W) to (B, out, H, W): twice the above."""
    return nn.Sequential(conv_norm_act(in_channels, out_channels, padding, bias),
                         conv_norm_act(out_channels, out_channels, padding, bias))


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
# LeakyReLU of slope 0.01 instead of ReLU (a hundredth of what is negative stays).

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
# What difference it makes: both blocks see the same slice, alone and in company.

# %%
others = training.targets.sum(dim=(1, 2, 3)).argsort(descending=True)[:7]
company = torch.cat([image, training.images[others].float()])
blocks = {"batch norm": double_conv(3, 8),
          "instance norm": check.use("instance_block", instance_block)(3, 8)}
changes = {}
for name, block in blocks.items():
    with torch.no_grad():
        changes[name] = float((block(image)[0] - block(company)[0]).abs().max())
    print(f"{name}: in company the slice's maps change by up to {changes[name]:.4f}")
assert changes["instance norm"] < 1e-3 < changes["batch norm"]

# %% [markdown]
# Only while it trains: for predictions batch norm uses averages that it collected then.
#
# **Down, up, skip, head.** *Down* is max pooling: of 2x2 pixels the largest stays. *Up* is a
# *transposed convolution*: each pixel paints a 2x2 patch, with weights that are learned. A *skip*
# takes the map from the way down that has the same size. The *head*, a 1x1 convolution, makes one
# number $x$ of each pixel's channels, the *logit*. The *sigmoid* $p = 1 / (1 + e^{-x})$ turns it
# into a probability: above 0 means tumour rather than not. Three ways to use a skip:

# %%
def concatenate(decoder, skip):
    """U-Net: channels side by side; (B, C, H, W) twice to (B, 2C, H, W)."""
    return torch.cat([decoder, skip], dim=1)


def add(decoder, skip):
    """As a fully convolutional network adds; (B, C, H, W) stays."""
    return decoder + skip


def nothing(decoder, skip):
    """No skip at all: the decoder has only what came from below."""
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
assert flat[2].std() < 1e-5 < min(flat[0].std(), flat[1].std())
show.contact_sheet(flat, titles=list(ways), columns=3, window=(0, 2),
                   alt="A flat input, enlarged: two checkerboards, one flat picture.")

# %% [markdown]
# First, the patches of a 3x3 kernel with stride 2 overlap, unevenly: a pixel gets one, two or four
# weights. Unless they happen to balance, that is a *checkerboard* (Odena et al. 2016,
# [doi:10.23915/distill.00003](https://doi.org/10.23915/distill.00003)). Second, U-Net's 2x2 kernel:
# no overlap, but the four weights differ, so the pattern is there before training. Third,
# interpolation: flat. What this does not show: whether it matters after training. Four weights can
# learn to be equal.

# %% [markdown]
# ## 2 · The whole
#
# Four levels down, each with half the side and twice the channels; at the bottom the *bottleneck*;
# four levels up. First the blocks, with names after
# [brain-segmentation-pytorch](https://github.com/mateuszbuda/brain-segmentation-pytorch): `enc`
# (encoder) on the way down, `dec` (decoder) on the way up. `double` is 2 where skips are
# concatenated: then the decoder's blocks take in twice the channels.

# %%
def make_blocks(in_channels, out_channels, f, double=2, padding=1, bias=False):
    """All blocks by name; f channels at the top."""
    blocks, inputs = nn.ModuleDict(), in_channels
    for level, width in enumerate([f, 2 * f, 4 * f, 8 * f], start=1):
        blocks[f"enc{level}"] = double_conv(inputs, width, padding, bias)
        blocks[f"up{level}"] = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        blocks[f"dec{level}"] = double_conv(double * width, width, padding, bias)
        inputs = width
    blocks["bottleneck"] = double_conv(8 * f, 16 * f, padding, bias)
    blocks["head"] = nn.Conv2d(f, out_channels, 1)
    return blocks

# %% [markdown]
# Then the wiring, as in figure 1 of the paper: each `join` is one of the grey arrows across.

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

    def __init__(self, join, in_channels=3, out_channels=1, features=8, padding=1,
                 bias=False):
        one = torch.empty(1, 1, 1, 1)
        double = join(one, one).shape[1]                # 2 if channels are concatenated
        super().__init__(
            make_blocks(in_channels, out_channels, features, double, padding, bias))
        self.join = join

    def forward(self, image):
        return wire(self, image, self.join)["logits"]

# %% [markdown]
# Is that the library's `models.UNet`? With the same weights, it must give the same logits. Then the
# network draws itself: `show.topology` runs it once and follows what feeds what.

# %%
ours, theirs = Net(concatenate), models.UNet(in_channels=3, out_channels=1, features=8)
ours.load_state_dict(theirs.state_dict())               # names and shapes must agree
torch.testing.assert_close(ours(image), theirs(image))
numbers = []
for name, maps in list(wire(ours, image, concatenate).items())[:5]:
    print(f"{name:10} {maps.numel():7,} numbers in {tuple(maps.shape)}")
    numbers.append(maps.numel())
assert numbers == [numbers[0] // 2 ** level for level in range(5)]
show.topology(ours, image.shape, alt="The U-Net of this lesson, drawn from itself.")

# %% [markdown]
# The left arm goes down, the right arm up; each dashed arrow is a skip. Each step down halves the
# side and doubles the channels, so a level holds half the numbers of the one above. Every skip
# joins two maps of the same size, which only works if the side can be halved four times: it must be
# divisible by 16.

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · Count by hand
#
# Difficulty 3/5 · 15 minutes
#
# Write `parameters_by_hand(in_channels, out_channels, features)`: how many *parameters* (numbers
# that are learned) our U-Net has, by arithmetic. With 32 features, 3 channels in and one out the
# sum is 7,763,041, as in brain-segmentation-pytorch.

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
# Three networks, alike but for `join`, trained on the same slices in the same order. Held fixed:
# optimiser, learning rate, steps, patients. Not held fixed: the number of parameters (without
# concatenation the decoder's blocks take in half as much), and with it the random start.
#
# Each step draws a *batch* of 16 slices (patients evenly, slices with tumour more often), turns,
# scales and mirrors them (`Affine`), and lowers a *loss*. It adds two errors (`BCEDice`, lesson
# 04): the *binary cross-entropy*, averaged over pixels, and 1 less a soft form of the score below.
# With $t$ = 1 in the tumour, else 0:
#
# $$L = -\overline{t \ln p + (1 - t) \ln (1 - p)} \; + \; 1 -
# \frac{2 \sum p\,t + 1}{\sum p + \sum t + 1}, \qquad
# \text{DSC} = \frac{2\,|P \cap T|}{|P| + |T|}.$$
#
# The score is the *Dice similarity coefficient* (DSC) of a patient: $P$ are the pixels that are
# predicted, $T$ those of the target, in all slices; 0 is no overlap, 1 perfect.
#
# **Forecast.** Which mean DSC does each reach on the test patients?

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
    criterion, odds = losses.BCEDice(), training.sampling_weights()
    for rows in torch.multinomial(odds, 16 * steps, True, generator=random).split(16):
        seen, wanted = augment.Affine()(*training[rows], random)
        loss = criterion(net(seen.float().to(DEVICE)), wanted.to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()

# %%
nets, predicted, scored = {}, {}, {}
for join in (nothing, add, concatenate):
    name, start = join.__name__, time.perf_counter()
    nets[name] = train_net(join, training, STEPS, SEED)
    predictor = predict.Predictor(nets[name], training.preparation, training.labels)
    predicted[name] = predict.predict_all(predictor, test)
    scored[name] = np.array(predict.scores(predicted[name], test.labels).column("dsc"))
    size = sum(weight.numel() for weight in nets[name].parameters())
    print(f"{name:12} {size:,} parameters, {time.perf_counter() - start:.0f} s")
print(f"{NOTE}One training each, {STEPS} steps; {len(test.patients)} test patients:")
check.outcome("02-skips", {name: float(dsc.mean()) for name, dsc in scored.items()})

# %% [markdown]
# The mean hides what happens. So we look at patients: first those that gain most by the skips, then
# those that gain least, each in the slice with most tumour.

# %%
gain = dict(zip(test.patients, scored["concatenate"] - scored["nothing"], strict=True))
order = sorted(gain, key=gain.get, reverse=True)
chosen = list(dict.fromkeys(order[:2] + order[-2:]))


def pick(name):
    """What a network predicts for the patients that were chosen, by title."""
    return {f"{who}\ngain {gain[who]:+.2f}": predicted[name][who] for who in chosen}


print(f"{NOTE}{sum(value > 0 for value in gain.values())} of {len(gain)} test patients "
      "gain by the skips")
show.comparison_sheet({"no skips": pick("nothing"), "skips": pick("concatenate")},
                      score=metrics.dsc, alt="Predictions without and with skips.")

# %% [markdown]
# Upper row without skips, lower row with them. Look at the dashed lines: without skips all that is
# known of *where* has gone through the bottleneck, whose pixels lie 16 apart. Expect a smooth blob
# there, and an edge where skips bring the fine maps. (No dashed line: nothing was found there.) Is
# it so? We measure in each patient's slice with most tumour which share of the target's outline has
# a predicted outline within 2 pixels.

# %%
from scipy import ndimage


def followed(prediction, near=2):
    """Share of the target's outline with a predicted one within so many pixels."""
    row = show.main_slice(prediction)
    wanted, found = (mask & ~ndimage.binary_erosion(mask) for mask in
                     (prediction.target[row] > 0, prediction.mask[row] > 0))
    if not found.any():
        return 0.0
    return float((ndimage.distance_transform_edt(~found)[wanted] <= near).mean())


close = {name: np.mean([followed(each) for each in predicted[name].values()])
         for name in nets}
print(f"{NOTE}outline followed: {close['nothing']:.0%} without skips, "
      f"{close['concatenate']:.0%} with; skips bring the prediction "
      f"{'closer to' if close['concatenate'] > close['nothing'] else 'no closer to'} "
      "the edge here")

# %% [markdown]
# That was one short training each, on few patients. Another *seed* starts from other weights and
# sees other slices; other patients are easier or harder. So a script ran the same code longer, with
# several seeds, on the twin (benchmarks/skips.py). Its scores come with the course:

# %%
import csv
import importlib.resources

saved = importlib.resources.files("course_lib") / "saved" / "lesson_02_skips.csv"
how, *lines = saved.read_text("utf-8").splitlines()
runs = tables.Table(r | {"dsc": float(r["dsc"])} for r in csv.DictReader(lines))


def mean_of(network, key, value):
    """Mean DSC over the runs of a network in which the column `key` has this value."""
    return float(np.mean([r["dsc"] for r in runs
                          if (r["network"], r[key]) == (network, value)]))


print(how)
for name in nets:
    each = [mean_of(name, "seed", seed) for seed in sorted(set(runs.column("seed")))]
    by_seed = " ".join(f"{value:.3f}" for value in each)
    print(f"{name:12} mean DSC {np.mean(each):.3f}; by seed {by_seed}")

# %% [markdown]
# For the *paired difference* we take each patient's mean over the seeds for both networks and
# subtract: an easy patient is easy for both and falls out.
#
# How far might the mean difference move with other patients of the same kind? A *bootstrap* draws
# as many patients as there are from those that are there, some twice, some not at all, and takes
# their mean. It does so 9,999 times, and the range printed holds the middle 95 % of these means
# (slightly corrected). It knows only the patients that are there: with a dozen or fewer it is too
# narrow, and misses the truth more often than one time in twenty (lesson 06).

# %%
patients = sorted(set(runs.column("patient")))
means = {name: np.array([mean_of(name, "patient", patient) for patient in patients])
         for name in nets}
differences = {f"concatenate - {other}": means["concatenate"] - means[other]
               for other in ("nothing", "add")}
for name, values in differences.items():
    low, high = stats.bootstrap_interval(values)
    assert values.min() < 0 < values.max()
    zero = "inside" if low <= 0 <= high else "outside"
    print(f"{name}: {np.sum(values > 0)} of {len(values)} patients gain, "
          f"mean {values.mean():+.3f}\n  bootstrap range over these {len(values)} "
          f"patients: {low:+.3f} to {high:+.3f}, 0 is {zero}\n  too few patients to be "
          "95 % sure, lesson 06")
show.dots(differences, xlabel="difference of DSC, one dot a patient",
          alt="Differences of DSC between concatenation and the two other ways.")

# %% [markdown]
# One dot per patient; the black bar is their *median* (the middle one). Right of 0 concatenation is
# better for that patient. There are dots on both sides: some patients gain, some do not. Read the
# range, not the mean: if it holds 0, these patients and seeds do not tell the two apart. That is a
# finding, too: on this twin, at this budget, for networks this small. The U-Net paper did not make
# this comparison.

# %% [markdown]
# ## 4 · What the levels see
#
# "Shallow layers see edges, deep layers see meaning" is said so often that nobody looks. We look,
# in the trained network with concatenation, at the liveliest channel of each level (that with the
# largest standard deviation), placed where it is computed.

# %%
net = nets["concatenate"].cpu()
with torch.no_grad():
    levels = wire(net, image, concatenate)
maps = {"image": image[0, 1].numpy()}
for name, values in levels.items():
    liveliest = values[0].flatten(1).std(dim=1).argmax()
    maps["head" if name == "logits" else name] = values[0, liveliest].numpy()
print(NOTE, end="")
show.topology(net, image.shape, maps=maps,
              alt="The liveliest channel of each level; the image is FLAIR.")

# %% [markdown]
# Each map is black at its own least value and white at its greatest. On the way down contours get
# coarser; the bottleneck is a plan of a few pixels. On the way up the maps get finer again; the
# last box is the answer: the whiter, the surer of tumour. A grid of dots on the way up is the
# checkerboard of section 1. But the liveliest channel need not be about the tumour, and what it
# means cannot be read off a picture. So we measure: for each level, the channel that follows the
# *edges* of FLAIR most closely, and the one that follows the *tumour* (correlation, its sign
# dropped). Channels are chosen on training slices and measured on test slices, else the level with
# most channels would win by luck.

# %%
def correlation(maps, wanted):
    """Of each channel (N, C, h, w) with a picture (N, 1, H, W), shrunk to its size."""
    wanted = functional.adaptive_avg_pool2d(wanted, maps.shape[2:])
    maps, wanted = (part.transpose(0, 1).flatten(1) for part in (maps, wanted))
    maps, wanted = (part - part.mean(dim=1, keepdim=True) for part in (maps, wanted))
    return (maps * wanted).sum(dim=1) / (maps.norm(dim=1) * wanted.norm(dim=1) + 1e-9)


@torch.no_grad()
def follow(net, dataset):
    """Level to the correlations (2, C) of its channels with edges and tumour."""
    rows = dataset.targets.sum(dim=(1, 2, 3)).argsort(descending=True)[:40]
    seen, tumour = dataset.images[rows].float(), dataset.targets[rows].float()
    edges = torch.hypot(*torch.gradient(seen[:, 1:2], dim=(2, 3)))
    return {name: torch.stack([correlation(maps, edges), correlation(maps, tumour)])
            for name, maps in ({"image": seen} | wire(net, seen, net.join)).items()}

# %%
def best(net):
    """Level to what the channels that training slices choose reach on test slices."""
    chosen, measured = follow(net, training), follow(net, test)
    picked = {name: values.abs().argmax(dim=1, keepdim=True)
              for name, values in chosen.items()}
    return {name: measured[name].gather(1, picked[name])[:, 0].abs().tolist()
            for name in measured}


skips, without = best(net), best(nets["nothing"].cpu())
print(NOTE, end="")
tables.Table([{"level": name,
               "edges": skips[name][0], "edges, no skips": without[name][0],
               "tumour": skips[name][1], "tumour, no skips": without[name][1]}
              for name in skips])

# %%
kept, lost = skips["dec1"][0], without["dec1"][0]
print(f"{NOTE}edges at the end (dec1): {kept:.2f} with skips, {lost:.2f} without; "
      f"skips {'bring them back' if kept > lost else 'do not bring them back here'}")
deep, forced = skips["bottleneck"][1], without["bottleneck"][1]
print(f"tumour in the bottleneck: {deep:.2f} with skips, {forced:.2f} without; "
      f"{'less' if deep < forced else 'not less'} where there are ways around it")

# %% [markdown]
# 1 would be a map that *is* the edges, or the tumour. The first row is the image itself: FLAIR
# alone follows the tumour to some degree, for most tumours are bright, and brightness is no deep
# idea. Without skips everything must pass through the bottleneck; with them there are ways around
# it. If it then follows the tumour less, "deep means meaning" is no law of depth. Compare within a
# row: further down the tumour is averaged to coarser pixels. One network each, single channels: a
# hint, no law.
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

# %%
middle = np.argwhere(target).mean(axis=0).round().astype(int)   # of the tumour
gradient = moved_by(net, image, "logits", middle)
rows_away, columns_away = (abs(torch.arange(SIZE) - int(m)) for m in middle)
away = torch.maximum(rows_away[:, None], columns_away[None])
inside = [float(gradient[away <= r].sum() / gradient.sum()) for r in range(SIZE)]
width = 2 * next(r for r, share in enumerate(inside) if share >= 0.9) + 1
check.outcome("02-reach", {"bottleneck": measured["bottleneck"],
                           "90 % of a logit": width})

# %%
reach, step = 1, 1
for name in ("enc1", "enc2", "enc3", "enc4", "bottleneck"):
    reach += 2 * 2 * step                                # two convolutions
    print(f"{name:10} sees {reach:3} pixels, its pixels lie {step:2} apart")
    reach, step = reach + step, 2 * step                 # and a pooling
assert measured["bottleneck"] == reach - step // 2 > SIZE
print(f"{NOTE}a logit can see {measured['logits']} pixels from edge to edge; 90 % of "
      f"what moves this one lies in a square of {width}")
show.contact_sheet([image[0, 1].numpy(), gradient.sqrt().numpy()], columns=2,
                   targets=[target, None], window=[windows[1], None],
                   titles=["FLAIR, target",
                           "what moves the logit in its middle (square root)"],
                   alt="A slice, and the gradient of one logit with respect to it.")

# %% [markdown]
# With $k$ = 3, a map whose pixels lie $j$ apart adds $(k - 1)\,j$ to the field at each convolution,
# and a pooling adds $j$ and doubles it. Bright is what moves the logit in the tumour's middle. The
# field that is possible is larger than the picture; the one that is used fades outwards
# (Luo et al. 2016, [arXiv:1701.04128](https://arxiv.org/abs/1701.04128)). This is one pixel of one
# slice. Skips do not widen the field: the widest way leads through the bottleneck.

# %% [markdown]
# ## 5 · Without padding: 572 gives 388
#
# Our convolutions are padded with zeros, so that the output is as large as the image. The paper's
# are not (*valid* padding, $p = 0$): by the formula of section 1 each takes 2 off the side. No
# invented pixels, but the map shrinks at every block, the skips are larger than what comes from
# below and must be cropped, and the prediction is smaller than the image.

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
# With both we walk through the paper's own network: your join wires it, your arithmetic must agree.
# On PyTorch's *meta* device tensors have shapes but no numbers: the walk costs nothing.

# %%
def sides(net, join):
    """The side of every level for an image of 572 pixels."""
    with torch.device("meta"):
        levels = wire(net, torch.empty(1, 1, 572, 572), join)
    return {name: maps.shape[2] for name, maps in levels.items()}


with torch.device("meta"):
    paper = models.UNet.ronneberger()
side_by_hand = check.use("valid_side", valid_side)
cropped = sides(paper, check.use("crop_and_join", crop_and_join))
assert cropped["logits"] == side_by_hand(572, 4) == 388
print(cropped)
print("sides that work:", [side for side in range(540, 640) if side_by_hand(side, 4)])

# %% [markdown]
# 572 less 4 is 568; half of it is 284, less 4 is 280, and so on to 28 at the bottom; then double,
# less 4, four times: 388. To segment a large image, one cuts it into overlapping tiles and mirrors
# it at its borders.
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
# 564 instead of 388, from the same weights. The price: near the border the decoder works on zeros
# that stand for nothing, and relies on the skip alone.
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
by_hand = check.use("parameters_by_hand", parameters_by_hand)(1, 1, 64)
assert list(counts.values()) == [31_030_658, 31_030_593, 31_042_369, by_hand]
for name, count in counts.items():
    print(f"{name:40} {count:,}")

# %% [markdown]
# The third is what [Pytorch-UNet](https://github.com/milesial/Pytorch-UNet) had with
# `UNet(1, 1, bilinear=False)` until December 2021, when commit 514f18e took away the biases before
# the norms; the fourth is what it has since, and what you counted by hand. If two such counts
# differ in the last digits, look at biases, norms and channels first.

# %% [markdown]
# ## 6 · What it costs
#
# The unit of cost is the *multiply-add*, one multiplication and one addition. A convolution needs,
# for each pixel of its output, one for each of its weights, $k^2 \, c_\text{in} \, c_\text{out}
# \cdot H \, W$ in all. We count with PyTorch's counter (it counts the two apart, so its number is
# twice ours; norms, ReLU and biases it leaves out), for the variant that gives 564, with batch norm
# and biases.
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
work = {name: sum(counter.get_flop_counts()[f"Net.{name}"].values()) / 2
        for name in wide}
owned = {name: sum(weight.numel() for weight in block.parameters())
         for name, block in wide.items()}


def share_of_top(cost):
    return sum(cost[name] for name in ("enc1", "up1", "dec1")) / sum(cost.values())


check.outcome("02-cost", {"multiply-adds": share_of_top(work),
                          "parameters": share_of_top(owned)})

# %%
parts = {f"level {level}": [f"enc{level}", f"up{level}", f"dec{level}"]
         for level in (1, 2, 3, 4)}
parts |= {"bottleneck": ["bottleneck"], "head": ["head"], "all": list(work)}
parts["of it up-convolutions"] = [name for name in work if name.startswith("up")]


def cost(blocks):
    """Multiply-adds, in G, and parameters of some blocks."""
    return {"multiply-adds, G": sum(work[block] for block in blocks) / 1e9,
            "parameters": f"{sum(owned[block] for block in blocks):,}"}


levels = tables.Table({"part": part} | cost(blocks) for part, blocks in parts.items())
four = levels.column("multiply-adds, G")[:4]
assert max(four) < 1.3 * min(four)
levels

# %% [markdown]
# G is a thousand million. The four levels cost about the same: a level further down has a quarter
# of the pixels and four times the weights, so the work stays, while the parameters pile up at the
# bottom. A smaller image saves work but no parameter; fewer features save both.

# %% [markdown]
# <details>
# <summary>Why the tool torchinfo prints 233.39 G for this network</summary>
#
# torchinfo (1.8.0) multiplies a layer's parameters, biases included, with the pixels of its
# *output*. For a transposed convolution with stride 2 that is four times too much: of its 2x2
# weights only one falls on each output pixel. So it has three times the up-convolutions' work (the
# table's last row) too much; the rest of the difference is biases and norms. Who compares
# architectures by such a table compares, in part, how they go up.
#
# </details>

# %% [markdown]
# **Memory.** A training holds more than weights: for each weight a gradient, and what the optimiser
# remembers (Adam: two numbers for each weight); and the outputs of the layers, which the backward
# pass needs.

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
# PyTorch itself tells what it keeps for the backward pass, here of one image of 572x572 pixels:

# %%
held = {}
own = {id(value) for value in wide.state_dict(keep_vars=True).values()}   # there anyway


def hold(value):
    if id(value) not in own:
        held[value.untyped_storage()._cdata] = value
    return value


with torch.autograd.graph.saved_tensors_hooks(hold, lambda value: value):
    wide(large)
outputs = sum(value.untyped_storage().nbytes() for value in held.values()) / 4
memory = check.use("training_memory", training_memory)
for name, moments in {"SGD": 0, "SGD with momentum": 1, "Adam": 2}.items():
    megabytes = memory(outputs, sum(owned.values()), moments)
    share = memory(outputs, 0, 0) / megabytes
    print(f"{name:18} {megabytes:6,.0f} MB, {share:.0%} of them outputs")
    assert share > 0.5

# %% [markdown]
# With one image already the outputs are the larger part, and they grow with the batch; the rest
# does not.

# %% [markdown]
# ## 7 · Why medicine? Claims to judge
#
# U-Net is said to suit medical images, for three reasons. What do we know of each?
#
# *It needs few images.* The paper's first task had 30 training images of 512x512 pixels. But each
# pixel is an example, and the authors credit heavy augmentation as well. We compared no other
# network on few images, so we can say nothing for or against.
#
# *Medical images are simply built:* organs in their place. But a tumour may be anywhere. We
# measured nothing about it.
#
# *Shallow and deep maps are brought together.* Of this we measured something: sections 3 and 4. But
# nothing in it is about medicine.

# %% [markdown] tags=["exercise"]
# ### Exercise 6 · One claim stands
#
# Difficulty 2/5 · 5 minutes · no code
#
# Which of these is supported by what was computed here?
#
# - **a** "U-Net gets by with few images because it has few parameters."
# - **b** "Skips enlarge the receptive field; that is why they help."
# - **c** "On this twin and at this budget, the range in section 3 tells how far networks with
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
# the channels at each level, joined by skips of the same size. Every level costs about as much
# work, but the deep ones hold the parameters. What skips bring is measured on patients, with a
# range.
#
# **What we left out.** Dropout and the weighted loss of the paper; elastic deformation; strided
# convolutions instead of pooling; residual blocks; 3D (`dim=3`, lesson 07).
#
# **Read next.** Ronneberger et al. 2015, beside `course_lib/models/unet.py`.
# **Next lesson:** 03, the brain MRI task.

# %%
check.summary("02")
