# %% [markdown] tags=["title"]
# **Builds on** lesson 00, or on nothing but Python and a little PyTorch.

# %% tags=["setup"]

# %% [markdown]
# ## 1 · From files to a volume
#
# Most mistakes in medical imaging are made before the first network is trained: masks that belong
# to another slice, intensities that mean something else in the next hospital, patients on both
# sides of a split. None of them raises an error. They only make the score a lie. So the first
# lesson trains hardly anything: we look.
#
# A scan is a stack of slices. In the public *LGG segmentation* set (LGG: low-grade glioma, a slowly
# growing brain tumour) each slice is a tif file of three channels, and beside it lies a mask file:
# 255 where a specialist saw tumour, else 0 (`read_patient` makes it 1 and 0). We also call the mask
# *target*: what a network should find. `NAME` chooses between a simulated twin of the set (nothing
# to download) and the real one.

# %%
NAME = "lgg-phantom"              # or "lgg-mri"
PATIENTS, SIZE = {"tiny": (8, 64), "cpu": (24, 96), "gpu": (40, 128)}[PROFILE]
folder = data.fetch(NAME, patients=PATIENTS)
names = [path.name for path in data.find_patients(folder)]
check.enough_patients("01", names)
files = sorted((folder / names[0]).iterdir())
for path in files[:6]:
    print(f"{path.name:44} {path.stat().st_size:9,} bytes")

# %% [markdown]
# Sorting file names as text puts slice 10 before slice 2. That is the first trap: a volume stacked
# in that order is shuffled, and nothing complains. The library sorts by number.

# %%
as_text = [path.name for path in files if not path.stem.endswith("mask")]
numbers = [int(name.split("_")[-1].removesuffix(".tif")) for name in as_text]
print("as text:", numbers[:12])
patient = data.read_patient(folder / names[0])
print("by number:", patient.slices[:12])

# %%
image, target = patient.image, patient.target
print(f"image {image.shape} {image.dtype}, from {image.min()} to {image.max()}: "
      "slices, rows, columns, channels")
print(f"target {target.shape} {target.dtype}, values {np.unique(target)}")

# %% [markdown]
# Before anything rests on files, look whether they are whole. `data.verify` reads each one once and
# puts all that is wrong into one table, with a cure: a mask without its image, values that are no
# mask's, shapes that differ, slices missing in between, the same patient under two names.

# %%
data.verify(folder)

# %% [markdown]
# No findings, here. To see what one looks like, we spoil a copy of one patient in the way it
# happens: a mask saved with smooth edges, a file cut off by a full disk, a slice that got lost.

# %%
import shutil
import tempfile
from pathlib import Path

import tifffile

home = Path(tempfile.mkdtemp())
spoilt = Path(shutil.copytree(folder / names[0], home / names[0]))
mask_file, cut, lost = (spoilt / f"{names[0]}_{n}{end}.tif"
                        for n, end in ((5, "_mask"), (7, ""), (9, "")))
tifffile.imwrite(mask_file, np.full(patient.target.shape[1:], 128, np.uint8))
cut.write_bytes(cut.read_bytes()[:5000])
lost.unlink()
data.verify(home)

# %% [markdown]
# Four rows for three mishaps: a lost image leaves a mask without one and a gap in the numbers. What
# is *fatal* keeps the patient from being used; `data.SliceDataset` refuses by the same checks, or,
# with `on_error="skip"`, leaves this patient out and goes on with the others.

# %% [markdown]
# ## 2 · Three sequences, healthy and ill
#
# The scanner can make different tissues visible. In *T1*, fat is bright, water dark, and white
# matter a little brighter than grey. In *FLAIR*, the signal of free water is suppressed, so that
# swollen tissue stands out against it: most low-grade gliomas are bright here. The third channel
# is *T1 after contrast agent*, which lights up where vessels leak.
#
# We take the slice with most tumour and one without, of the same patient.

# %%
areas = patient.target.sum(axis=(1, 2))
ill = show.most_marked(patient.target)
empty = np.flatnonzero(areas == 0)
healthy = int(empty[np.abs(empty - ill).argmin()])     # the nearest one without tumour
sequences = ["T1", "FLAIR", "T1 after contrast agent"]
windows = [show.find_window(patient.image[..., c]) for c in range(3)]
both = [(s, c) for s in (ill, healthy) for c in range(3)]
show.contact_sheet([patient.image[s, :, :, c] for s, c in both],
                   targets=[patient.target[s] for s, _ in both],
                   titles=[f"{sequences[c]}, slice {patient.slices[s]}"
                           for s, c in both], window=windows * 2, columns=3,
                   alt="Above a slice with tumour in three sequences, outlined; below "
                       "the nearest slice without.")

# %% [markdown]
# Above, the outline surrounds what is bright in FLAIR, and dull or invisible in T1. Below, the
# nearest slice without tumour. Note what else is bright in FLAIR: the fat under the skin of the
# head. A rule "bright is tumour" would find that first. (Each sequence has one *grey window*: the
# same number is the same grey in all slices. Were every slice stretched to its own range, noise
# would look like tissue.)
#
# **Left and right.** Radiologists look at a patient from the feet: the patient's right is on the
# left of the picture. The files of this set do not say which side is which; where it matters, a
# format that stores orientation (NIfTI, lesson 07) is needed.

# %%
p = patient
show.gif(p.image[..., 1], None, p.target, around=None,
         alt=f"All slices of {p.name} in FLAIR, with the target.")

# %% [markdown]
# All slices from the base of the skull upwards. This patient's tumour is one piece in space, though
# a single slice may cut it into several. In others small pieces lie apart.

# %% [markdown]
# ## 3 · How much of it is tumour?
#
# **Forecast.** Of all slices, which share holds any tumour? And of all pixels in the heads, which
# share is tumour? (*Head*: pixels where some channel is above a tenth of the patient's maximum.)
# Write two numbers between 0 and 1 in place of `None`, and a reason.

# %%
check.forecast("01-imbalance", {"slices with tumour": None, "tumour pixels": None},
               reason="")

# %%
volumes = {name: data.read_patient(folder / name) for name in names}
everyone = list(volumes.values())
check.enough_patients("01", [p for p in everyone if p.target.any()], "with tumour")
slices = sum(len(p.slices) for p in everyone)
with_tumour = sum(int(p.target.any(axis=(1, 2)).sum()) for p in everyone)
head = sum(int((p.image.max(axis=-1) > 0.1 * p.image.max()).sum()) for p in everyone)
tumour = sum(int(p.target.sum()) for p in everyone)
check.outcome("01-imbalance", {"slices with tumour": with_tumour / slices,
                               "tumour pixels": tumour / head})

# %% [markdown]
# Most slices hold no tumour at all. In the real set 2,556 of 3,929 masks are empty (65 %, counted
# in the Kaggle set's mask files), and where there is tumour it is a small part of the head. This
# *class imbalance* shapes everything that follows.
#
# The score of this course is the *Dice similarity coefficient* (DSC): twice the pixels in both
# masks, divided by the sum of the pixels in each. 1 is a perfect match, 0 no overlap. It can be
# taken per slice, or per patient (all slices together). If both masks are empty it is 0 / 0: then
# one must choose a convention. What does predicting nothing at all score?

# %%
accuracy = 1 - tumour / sum(p.target.size for p in volumes.values())
print(f"predict nothing: {accuracy:.1%} of the pixels are right, "
      f"{1 - with_tumour / slices:.1%} of the slices are perfect")
nothing = [metrics.dsc(np.zeros_like(p.target), p.target) for p in volumes.values()]
print(f"mean DSC per patient: {np.mean(nothing):.3f}")

# %% [markdown]
# So accuracy is worthless here. And a score per slice that counts every empty slice as a success
# (DSC 1) starts high for doing nothing: at 0.65 on the whole real set.

# %%
sizes = sorted((int(p.target.sum()), name) for name, p in volumes.items())
show.dots({"tumour": [size for size, _ in sizes]},
          xlabel="tumour, pixels in all slices",
          alt="One dot a patient: the size of the tumour.")

# %% [markdown]
# One dot per patient; the bar is the median. The largest tumour is many times the smallest. A mean
# over *pixels* would be ruled by the few large ones; that is why we score each patient first, and
# take the mean over patients.

# %% [markdown] tags=["exercise"]
# ### Exercise 1 · What does nothing score?
#
# Difficulty 1/5 · 10 minutes
#
# Write `slice_dsc_of_nothing(targets)`: the mean DSC *per slice* of an empty prediction, with the
# convention that an empty slice, left empty, scores 1. `targets` is an integer array (S, H, W) of 0
# and 1; return a float.

# %% [markdown] tags=["hints"]
# - The DSC of an empty prediction and a mask that is not empty is 0, whatever its size.
# - So only the share of empty slices counts. `targets.any(axis=(1, 2))` tells for each slice
#   whether there is any tumour.
# - A plain Python float is expected.

# %% tags=["solution"]
def slice_dsc_of_nothing(targets):
    """Mean DSC per slice of an empty prediction; an empty slice left empty counts as 1.

    Args:
        targets: (S, H, W) of 0 and 1.
    Returns:
        float in [0, 1].
    """
    return float((~targets.astype(bool).any(axis=(1, 2))).mean())


check.slice_dsc_of_nothing(slice_dsc_of_nothing)

# %% [markdown]
# ## 4 · What an intensity means
#
# A CT (X-ray) scanner measures in a unit (Hounsfield: air -1000, water 0). MRI does not: 80 in one
# scan is dark, in the next bright. Here is how FLAIR is distributed in four patients, inside the
# head.

# %%
def values_in_head(image, channel=1):
    """Some intensities of one channel inside the head."""
    in_head = image.max(axis=-1) > 0.1 * image.max()
    return image[..., channel][in_head][::50].astype(float)


chosen = names[:4]
stored = {name: values_in_head(volumes[name].image) for name in chosen}
show.histograms({"as stored": stored}, xlabel="intensity",
                alt="FLAIR intensities of four patients, as stored.")

# %% [markdown]
# Each line is a patient. The peaks (mostly healthy brain) lie at different intensities, so a
# threshold that fits one patient misses another. The cure is to *normalise*: bring every patient to
# a common scale, most simply by z-scores: subtract the mean, divide by the standard deviation.

# %%
def z_score(image):
    """A volume with mean 0 and standard deviation 1."""
    return (image - image.mean()) / image.std()


flair = {name: volumes[name].image[..., 1].astype(np.float32) for name in chosen}
heads = {name: volumes[name].image.max(axis=-1) > 0.1 * volumes[name].image.max()
          for name in chosen}
show.histograms({"as stored": {n: flair[n][heads[n]][::50] for n in chosen},
                 "per volume": {n: z_score(flair[n])[heads[n]][::50] for n in chosen}},
                xlabel="intensity",
                alt="FLAIR of four patients before and after z-scores.")

# %% [markdown]
# In the twin the peaks now lie closer together, not exactly: the head fills another part of the
# frame in each patient, and the air counts in the mean. (In the first four real patients they were
# close already.) The public code whose preparation our library follows
# (brain-segmentation-pytorch) therefore crops to the head first; `course_lib/data/geometry.py`
# names each step.
#
# **And per slice?** It is tempting to normalise each slice on its own: it needs no volume. Look
# what it does to one patient.

# %%
def z_score_slices(image):
    """Each slice with mean 0 and standard deviation 1."""
    mean, deviation = (f(image, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    return (image - mean) / np.maximum(deviation, 1e-6)

# %%
whole, each = z_score(flair[names[0]]), z_score_slices(flair[names[0]])
tissue = heads[names[0]] & (patient.target == 0)
shown = [2, ill, (ill + len(areas)) // 2, len(areas) - 2]
ways = {"per volume": whole, "per slice": each}
titles = [f"{way}, slice {patient.slices[s]}\n"
          f"median {np.median(ways[way][s][tissue[s]]):.2f}"
          for way in ways for s in shown]
show.contact_sheet([part[s] for part in ways.values() for s in shown], titles=titles,
                   window=(-0.5, 4),
                   alt="The same slices, normalised per volume (above) and per slice "
                       "(below), all with the same window.")

# %% [markdown]
# All pictures use the same window from z = -0.5 to 4, so equal grey means equal number; above each
# stands the median of its healthy tissue. Per slice, what a number means depends on what else is in
# the slice: where the head is small, or a bright tumour is in the picture, healthy tissue gets
# another value. One patient may be an exception, so let us put a number on it for all: how much
# does the shade of healthy tissue change from slice to slice? And if everything brighter than one
# value is called tumour, how good does the best value do?

# %%
def shade_changes(image, raw, target):
    """Standard deviation, over slices, of the median of healthy tissue."""
    healthy = (raw.max(axis=-1) > 0.1 * raw.max()) & (target == 0)
    return np.std([np.median(image[s][healthy[s]]) for s in range(len(image))
                   if healthy[s].sum() > 300])

# %%
small = [(p.image[:, ::2, ::2], p.target[:, ::2, ::2])          # is enough
         for p in volumes.values()]
for title, normal in (("per volume", z_score), ("per slice", z_score_slices)):
    images = [normal(raw[..., 1].astype(np.float32)) for raw, _ in small]
    changes = np.mean([shade_changes(image, *pair)
                       for image, pair in zip(images, small, strict=True)])
    best = max(np.mean([metrics.dsc(image > value, target)
                        for image, (_, target) in zip(images, small, strict=True)])
               for value in np.arange(0.5, 4, 0.5))
    print(f"{title}: healthy tissue changes by {changes:.2f}, "
          f"best threshold reaches {best:.3f}")

# %% [markdown]
# Per slice, the shade of what is not tumour changes more, and the best threshold finds a little
# less. Both are poor: brightness alone is not enough. On 40 real patients the difference is smaller
# (0.40 against 0.34, and 0.157 against 0.170: docs/results.md). But normalising per volume costs no
# more, so there is no reason to give this away. (The threshold was chosen on the very patients it
# is scored on. For comparing two normalisations that is fair; as a score it would be too good: see
# section 5.)

# %% [markdown] tags=["exercise"]
# ### Exercise 2 · Normalise a volume
#
# Difficulty 2/5 · 15 minutes
#
# Write `normalise(image)` for a volume of several channels (S, H, W, C), any type: each *channel*
# gets mean 0 and standard deviation 1 over the whole volume. A channel that is constant becomes all
# zeros. (Some sets store zeros for a sequence that was never taken; this one stores FLAIR in its
# place.) The result is float32; the input stays as it is.

# %% [markdown] tags=["hints"]
# - `mean` takes a tuple of axes, and `keepdims=True` keeps the result's shape fit for subtraction.
# - Which axes may be averaged over? Not the channels: T1 and FLAIR have nothing to do with each
#   other. Not slice by slice either: see above.
# - uint8 cannot hold negative numbers, and float32 sums of a million values are rounded: pass
#   `dtype=np.float64` to `mean` and `std`, and return float32.
# - A channel is constant where its maximum equals its minimum. Its *computed* deviation may be 1e-7
#   instead of 0: do not divide by that.

# %% tags=["solution"]
def normalise(image):
    """Each channel of a volume with mean 0 and standard deviation 1 over all of it.

    Args:
        image: (S, H, W, C), any type.
    Returns:
        float32 array of the same shape; a constant channel is all zeros.
    """
    axes = (0, 1, 2)
    varies = image.max(axis=axes) > image.min(axis=axes)
    mean = image.mean(axis=axes, dtype=np.float64)           # float32 sums are rounded
    deviation = image.std(axis=axes, dtype=np.float64)
    scores = (image - mean) / np.where(varies, deviation, 1)
    return np.where(varies, scores, 0).astype(np.float32)


check.normalise(normalise)

# %% [markdown]
# ## 5 · Who is on which side
#
# A score says something about *new patients* only if it was measured on new patients. Slices of
# one patient are nearly the same picture, a few millimetres apart. If one lands in training and its
# neighbour in the test, the network need not find the tumour: it can remember it. The error is
# called *leakage*. It is easily made: see *Read next*.
#
# How much would it flatter? A quarter of the patients is for the test, and of them every second
# slice is scored. *Split by patient*: none of their slices is in the training. *Split by slice*:
# the slices in between are, in place of as many others. So both ways score the same slices of the
# same patients, after training on as many slices; only who is in the training differs.
#
# First with the stupidest method there is: for each test slice, find the most similar training
# slice, and copy its mask.
#
# **Forecast.** Which mean DSC will copying reach on a split by patient? And on a split by slice?

# %%
check.forecast("01-copying", {"split by patient": None, "split by slice": None},
               reason="")

# %%
whole_set = data.SliceDataset(folder, size=SIZE, drop_ends=False)       # all slices
split = data.split_patients(names, validation=0, test=0.25, seed=SEED)
rows = {name: [r for r, (owner, _) in enumerate(whole_set.index) if owner == name]
        for name in names}
others = [r for name in split.training for r in rows[name]]
scored = [r for name in split.test for r in rows[name][::2]]
between = [r for name in split.test for r in rows[name][1::2]]
random = np.random.default_rng(SEED)
kept = random.choice(others, len(others) - len(between), replace=False).tolist()
splits = {"split by patient": (others, scored),
          "split by slice": ([*kept, *between], scored)}

# %%
for title, parts in splits.items():
    there, here = ({whole_set.index[r][0] for r in part} for part in parts)
    print(f"{title}: {len(parts[0])} to train, {len(parts[1])} to test, "
          f"{len(there & here)} patients on both sides")

# %%
def scores_of(masks, test_rows):
    """DSC per patient over the test slices; masks (n, H, W) in their order."""
    owner = np.array([whole_set.index[r][0] for r in test_rows])
    target = whole_set.targets[test_rows, 0].numpy()
    return [metrics.dsc(masks[owner == name], target[owner == name])
            for name in sorted(set(owner))]


def copy_most_similar(train_rows, test_rows):
    """For each test slice the mask of the training slice that differs least."""
    flair = whole_set.images[:, 1:2].float()
    pixels = torch.nn.functional.avg_pool2d(flair, 4).flatten(1)
    distance = torch.cdist(pixels[test_rows], pixels[train_rows])
    nearest = np.asarray(train_rows)[distance.argmin(dim=1).numpy()]
    return whole_set.targets[nearest, 0].numpy(), nearest

# %%
copied = {title: copy_most_similar(*parts) for title, parts in splits.items()}
outcome = {title: float(np.nanmean(scores_of(copied[title][0], parts[1])))
           for title, parts in splits.items()}
check.outcome("01-copying", outcome)

# %% [markdown]
# The same method, the same slices, the same score: only the split differs. Here is what it does.

# %%
def show_copies(title):
    masks, nearest = copied[title]
    test_rows = splits[title][1]
    area = whole_set.targets[test_rows].sum(dim=(1, 2, 3)).numpy()
    best = np.argsort(area)[::-1][:: max(1, len(area) // 40)][:4]
    return show.contact_sheet(
        [whole_set.images[test_rows[i], 1].float().numpy() for i in best]
        + [whole_set.images[nearest[i], 1].float().numpy() for i in best],
        targets=[whole_set.targets[test_rows[i], 0].numpy() for i in best]
        + [whole_set.targets[nearest[i], 0].numpy() for i in best],
        titles=["test: {}\nslice {}".format(*whole_set.index[test_rows[i]])
                for i in best]
        + ["copy: {}\nslice {}".format(*whole_set.index[nearest[i]]) for i in best],
        alt=f"{title}: test slices above, the most similar training slices below.")


show_copies("split by slice")

# %% [markdown]
# Split by slice: above the test slice, below the training slice whose mask was copied. It is the
# neighbour of the same patient, so the mask nearly fits.

# %%
show_copies("split by patient")

# %% [markdown]
# Split by patient: the most similar slice is of somebody else, mostly with the tumour elsewhere.
# That is what "new patient" means.
#
# **And a real network?** It learns more than to copy. Does the leak flatter it, too? `train.fit`
# refuses patients on both sides, so here is a loop by hand: the very same training, once on each
# split. (The network is a U-Net: lesson 02. Its output, a *logit*, is above 0 where it says tumour.
# The *95 % interval* says how far a mean might move with other patients: lesson 06.)

# %%
def train_on(train_rows, steps):
    """A small U-Net after so many steps on these rows of the data set."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    model = models.UNet(3, 1, features=8).to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rows, weights = torch.tensor(train_rows), whole_set.sampling_weights()[train_rows]
    for _ in range(steps):
        drawn = torch.multinomial(weights, 16, replacement=True, generator=generator)
        image, target = (part.to(DEVICE) for part in whole_set[rows[drawn]])
        loss = losses.BCEDice()(model(image.float()), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()

# %%
DEVICE, steps = settings.device(), {"tiny": 15, "cpu": 250, "gpu": 1000}[PROFILE]
rows_of = {}
for title, (train_rows, test_rows) in splits.items():
    model = train_on(train_rows, steps)
    logits = predict.predict_logits(model, whole_set.images[test_rows])
    rows_of[title] = scores_of((logits[:, 0] > 0).numpy().astype(np.uint8), test_rows)
    print(f"{title}: mean DSC {np.nanmean(rows_of[title]):.3f}, "
          f"{len(rows_of[title])} patients")
gain = np.subtract(rows_of["split by slice"], rows_of["split by patient"])
low, high = stats.bootstrap_interval(gain)
print(f"the leak adds {np.nanmean(gain):+.3f} "
      f"(95 % interval {low:+.3f} to {high:+.3f})")

# %%
assert not set(split.training) & set(split.test)
if NAME == "lgg-phantom":                       # of other patients nothing is promised
    leak = outcome["split by slice"] - outcome["split by patient"]
    assert leak > 0.2, "copying shows the leak"

# %% [markdown]
# Same network, same number of steps and of slices, same patients scored. (In profile tiny the
# network has hardly begun to learn; its numbers mean nothing.) Compare what the leak adds
# with its interval: if that holds 0, this run cannot tell the leak from luck, and copying, above,
# showed it more clearly. That a network remembers more the longer it trains is to be expected; we
# did not measure it.

# %% [markdown] tags=["exercise"]
# ### Exercise 3 · Split by patient
#
# Difficulty 2/5 · 15 minutes
#
# Write `split_rows(index, test_patients)`. `index` is a list of pairs (patient, slice number),
# `test_patients` a list of names. Return two **lists** of row numbers (positions in `index`, from
# 0, ascending), training first. No patient may be on both sides.

# %% [markdown] tags=["hints"]
# - `enumerate(index)` gives the row number beside each pair.
# - A row belongs to the test if its *patient* is one of the test patients.
# - Keep the order of the rows. Both lists hold plain integers.

# %% tags=["solution"]
def split_rows(index, test_patients):
    """Row numbers for training and for test, split by patient.

    Args:
        index: list of pairs (patient, slice number), one per row.
        test_patients: names.
    Returns:
        training rows, test rows: two lists of int, ascending.
    """
    owners = list(enumerate(patient for patient, _ in index))
    test = [row for row, patient in owners if patient in test_patients]
    training = [row for row, patient in owners if patient not in test_patients]
    return training, test


check.split_rows(split_rows)

# %% [markdown] tags=["exercise"]
# ### Exercise 4 · Find the leak
#
# Difficulty 2/5 · 10 minutes · no code
#
# Four reports. In one of them the score can be believed for new patients. Which?
#
# - **a** "We cut 3,929 slices into 80 % training and 20 % test at random: DSC 0.95."
# - **b** "We split by patient, 90 to train, 20 to test. Intensities were normalised with the mean
#   and standard deviation over all 110 patients: DSC 0.85."
# - **c** "We split by patient. We tried 40 settings and report the best one's score on the test
#   patients: DSC 0.88."
# - **d** "We split by patient, chose settings on 10 of the training patients, and scored the chosen
#   one once on the 20 test patients, each normalised on its own: DSC 0.83."

# %% [markdown] tags=["hints"]
# - What did the test patients have a say in?
# - Normalisation may leak as well: what is computed over all patients has seen the test patients.
#   It is a small leak, but it is one.
# - Choosing among many on the test makes the test a part of the training.

# %% tags=["solution"]
answer = "d"

check.find_the_leak(answer)

# %% [markdown]
# ## Summary
#
# A volume is a stack of slices in the order of their numbers; three channels show different
# tissue; most slices hold no tumour, so a score must say what it is taken over. Intensities mean
# nothing across patients until they are normalised, per volume and per channel. And a split by
# slice measures memory: copying masks of neighbours would look like a method.
#
# **What we left out.** Correcting the coil's uneven illumination (bias field), spacing in
# millimetres (these tif files do not carry it; lesson 07), and how many patients it takes to tell
# two methods apart (lesson 06).
#
# **Read next.** Buda et al. 2019, [arXiv:1906.03720](https://arxiv.org/abs/1906.03720), who made
# the set; a thread where a reader finds one patient in training, validation *and* test of a
# published split: [COVID-CT, issue 11](https://github.com/UCSD-AI4H/COVID-CT/issues/11). **Next
# lesson:** 02, U-Net block by block.

# %%
check.summary("01")
