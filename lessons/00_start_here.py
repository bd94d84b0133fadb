# %% [markdown] tags=["title"]
# ![FLAIR slices of three simulated patients, the tumour outlined in solid blue, and in dashed
# orange what a network found: nearly the same in the first and the third, half of it in the
# second](../docs/pictures/start.jpg)
#
# *Three patients that a network had not seen before, from lesson 03, where it is trained for a few
# minutes. Here you train a smaller one, in less than one minute.*
#
# Nothing is downloaded, no account is needed.
#
# Press *Run → Run All Cells* now, and read while it works.

# %% tags=["setup"]

# %% [markdown]
# The line above says how much this notebook will compute. A *profile* is `tiny` (seconds, to see
# that all runs), `cpu` (minutes, for a laptop) or `gpu` (the real thing). The course chooses by
# what it finds; write `PROFILE = "tiny"` into the cell to choose yourself. `SEED` is the number
# from which all that is random is drawn: the same seed gives the same result.

# %% [markdown]
# ## 1 · A few patients
#
# A brain scan is a stack of *slices*: pictures through the head, a few millimetres apart. Ours come
# in three *sequences*: settings of the scanner, each of which makes other tissue bright. They are
# the three channels of an image:
#
# - *T1* shows the anatomy: watery tissue is dark.
# - *FLAIR* (fluid-attenuated inversion recovery): tissue that is swollen with water is bright, free
#   fluid is dark. *Low-grade gliomas*, slowly growing brain tumours, show best here.
# - *T1 after contrast agent*: a liquid was injected into a vein. Vessels are bright, and tumours
#   where it leaks out of them.
#
# In real data a specialist has outlined the tumour in every slice. The pixels inside are the
# *target*: what the network shall learn to find.
#
# Our patients are simulated: real anatomy (an average of 152 healthy brains), invented tumours, so
# that the target is known. Two things are there to mislead. Small bright spots in FLAIR are no
# tumour, many older brains have them (*distractors*); and about one tumour in four has a bright
# *ring* after contrast agent. Lesson 03 uses the same code on real patients by changing one name.

# %%
START = time.perf_counter()
PATIENTS, SIZE, FEATURES, EPOCHS = {"tiny": (8, 64, 8, 5), "cpu": (12, 96, 8, 12),
                                    "gpu": (12, 128, 16, 30)}[PROFILE]
folder = data.fetch("lgg-phantom", patients=PATIENTS)
names = [path.name for path in data.find_patients(folder)]
patient = data.read_patient(folder / names[0])
slices, height, width, depth = patient.image.shape
print(f"{patient.name}: {slices} slices of {height} x {width} pixels, {depth} channels")

# %%
row = show.most_marked(patient.target)              # the slice with most tumour
tumour = patient.target[row] > 0
images = [patient.image[row, :, :, c] for c in range(3)]
windows = [show.find_window(patient.image[..., c]) for c in range(3)]
titles, ratios = ["T1", "FLAIR", "T1 after contrast agent"], []
for c in range(3):
    black, white = windows[c]
    rest = (images[c] > black + (white - black) / 5) & ~tumour       # but not the air
    ratios.append(np.median(images[c][tumour]) / np.median(images[c][rest]))
    titles[c] += f"\ntumour {ratios[c]:.2f} times the rest"
assert ratios[1] > 1                                # bright in FLAIR
show.contact_sheet(images, targets=[None, patient.target[row], None], titles=titles,
                   window=windows, columns=3,
                   alt="One slice of the first patient in three sequences; the "
                       "tumour is outlined in FLAIR.")

# %% [markdown]
# The same slice three times: the one with most tumour. The blue line goes round the target. The
# titles say how bright the tumour is beside the rest of the head (the ratio of the medians; 1 is
# equally bright): in FLAIR it is above 1. Look for it in the two others, too. (The *grey window*
# under a figure names the values that are drawn black and white. There is one for all slices of a
# patient and sequence.)

# %% [markdown]
# ## 2 · A network in a minute
#
# Most patients teach the network (*training*). One is for *validation*: it tells when the network
# was best. The others are for the *test*: they choose nothing, so what we measure on them is
# honest.
#
# The score is the *Dice similarity coefficient* (DSC). With $P$ the pixels that the network calls
# tumour, its *prediction*, and $T$ the target:
#
# $$\mathrm{DSC} = \frac{2\,|P \cap T|}{|P| + |T|}$$
#
# Twice the pixels in both, divided by the pixels of one plus those of the other. 1 is a perfect
# match, 0 is no overlap. Two experts reach about 0.84 on real scans
# ([Buda et al.](https://arxiv.org/abs/1906.03720) and the authors' page on it). By hand, with six
# pixels:

# %%
six_target = np.array([0, 1, 1, 1, 0, 0])           # 1 is tumour
six_prediction = np.array([0, 0, 1, 1, 1, 1])
both = (six_prediction & six_target).sum()
by_hand = 2 * both / (six_prediction.sum() + six_target.sum())
print(f"2 · {both} / ({six_prediction.sum()} + {six_target.sum()}) = {by_hand:.3f}")
assert by_hand == metrics.dsc(six_prediction, six_target)    # as the library says

# %% [markdown]
# **Forecast.** Before you look on: what mean DSC do you expect on the test patients after so short
# a training? Write a number (or a range, `(0.6, 0.8)`) and a reason. Until then the outcome below
# stays folded; `check.forecast("00-start", "skip")` opens it without a forecast.

# %%
check.forecast("00-start", {"mean DSC": None}, reason="")   # a number in place of None

# %% [markdown]
# The network does not see the files as they are. Each slice is cut to the head and resized to
# `SIZE` × `SIZE` pixels, and each sequence is brought to mean 0 and standard deviation 1: the
# *prepared grid*. What the network says is brought back, and scored on the pixels of the files.

# %%
split = data.split_patients(names, validation=1, test=PATIENTS // 4, seed=SEED)
training, validation, test = (
    data.SliceDataset(folder, size=SIZE, patients=part, drop_ends=False)
    for part in split)
print(f"{len(training)} training slices of {len(split.training)} patients, "
      f"{len(validation)} of {len(split.validation)} for validation, "
      f"{len(test)} of {len(split.test)} to test")

# %%
torch.manual_seed(SEED)
model = models.UNet(in_channels=3, out_channels=1, features=FEATURES)
config = train.TrainConfig(epochs=EPOCHS, batch_size=8, learning_rate=3e-3,
                           optimizer="adamw", weight_decay=1e-2, schedule="cosine",
                           seed=SEED)
run = train.fit(model, training, validation, loss=losses.BCEDice(),
                augment=augment.Affine(), config=config,
                folder=settings.runs_folder() / f"00-start-{PROFILE}")

# %% [markdown]
# That was all. The network is a U-Net (lesson 02 builds it block by block). The *loss* is a number
# that says how wrong its answers are (lesson 04); each step takes `batch_size` slices and changes
# the network's *weights*, its numbers, so that the loss falls. An *epoch* is once through all
# training slices. `augment` turns, scales and mirrors them at random, so that the network does not
# learn them by heart. Run the cell again: it does not start over, it shows the finished run.

# %%
predictor = predict.load(run.folder)                # needs nothing but the run folder
predictions = predict.predict_all(predictor, test)
scores = predict.scores(predictions)
mean = float(np.nanmean(scores.column("dsc")))
seconds = time.perf_counter() - START
print(f"{len(scores)} test patients; {seconds:.0f} s since section 1 began")
check.outcome("00-start", {"mean DSC": mean})

# %%
BANNER = "Profile tiny: this shows that the cells run. No number here is evidence."
if PROFILE == "tiny":
    print(BANNER)
show.patient_sheet(predictions, score=metrics.dsc, columns=len(predictions),
                   alt="Test patients, the slice with most tumour: target solid blue, "
                       "prediction dashed orange.")

# %% [markdown]
# Solid blue is the target, dashed orange what the network predicts for patients it has never seen.
# Where both lines run together the network is right. Few patients taught it, so expect misses,
# even of a tumour that your eye finds at once. And so few test patients say little: others would
# give another mean. Lesson 03 does it with more patients, lesson 06 says how many it takes.

# %% [markdown]
# ## 3 · A slice is not the patient
#
# Each title above has two scores: of the slice that is shown, and of all slices of the patient
# together. A good picture can belong to a bad score, and the other way round. One cause is
# *false finds*, pixels that the network calls tumour and that are none, in slices that are not
# shown. We take the patient who has most of them, and look where they are.

# %%
def false_elsewhere(prediction):
    """Count false finds in each slice; 0 for the one with most tumour."""
    false = (prediction.mask > 0) & (prediction.target == 0)
    false[show.main_slice(prediction)] = False
    return false.sum(axis=(1, 2))


shown = max(predictions.values(), key=lambda each: false_elsewhere(each).sum())
counts = false_elsewhere(shown)
main, other = show.main_slice(shown), counts.argmax()
of_slice = metrics.dsc(shown.mask[main], shown.target[main])
of_patient = metrics.dsc(shown.mask, shown.target)
print(f"{shown.patient}: this slice {of_slice:.2f}, the patient {of_patient:.2f}; "
      f"{counts.sum():,} false finds in {(counts > 0).sum()} other slices")

# %%
without = shown.mask & shown.target                 # no false find is left …
without[main] = shown.mask[main]                    # … but those of the main slice
of_rest = metrics.dsc(without, shown.target)
assert of_rest >= of_patient
print(f"without these false finds the patient's DSC would be {of_rest:.2f}")
rows, flair = [main, other], shown.image[..., 1]
titles = [f"slice {main + 1}, most tumour\nthis slice: DSC {of_slice:.2f}\n"
          f"the patient: DSC {of_patient:.2f}",
          f"slice {other + 1}, most false finds\n"
          f"{counts[other]:,} pixels\nare no tumour"]
show.contact_sheet(list(flair[rows]), shown.mask[rows], shown.target[rows],
                   titles=titles, window=show.find_window(flair),
                   alt="FLAIR of one patient: the slice with most tumour, and the "
                       "slice with most false finds.")

# %% [markdown]
# Left the slice with most tumour, right, of all others, the one with most false finds: what lies
# inside a dashed line and not inside a solid one. The line above the figure says what the false
# finds in all slices but the left one cost. What else is missing to 1 is tumour that the network
# missed, and false finds in the left slice. So the course scores whole patients, and says beside
# each slice how its patient did.

# %% [markdown]
# ## 4 · Move it yourself
#
# The network gives every pixel a *probability*, from 0 to 1, of being tumour. The *threshold* says
# from where on we call it tumour; above it was 0.5. In JupyterLab or Colab: choose a patient and a
# slice, move the threshold, and watch the DSC of the whole patient follow. (At 0.5 it can differ
# from the score above: there only the largest connected piece was kept, here you see all of them.
# On a saved page you see a still picture instead.)

# %%
show.slice_viewer(predictions, score=metrics.dsc)

# %% [markdown]
# ## 5 · Change one thing
#
# An experiment changes one thing and leaves the rest as it is. Here the second network gets fewer
# epochs; `replace` copies the settings and changes the one we name.
#
# **Forecast.** What is its mean DSC, on the same test patients?

# %%
from dataclasses import replace

CHANGE, TO = "epochs", EPOCHS // 3                  # the one thing: change it
check.forecast("00-change", {"mean DSC of the second network": None}, reason="")

# %%
changed = replace(config, **{CHANGE: TO})
torch.manual_seed(changed.seed)
second_model = models.UNet(in_channels=3, out_channels=1, features=FEATURES)
second_run = train.fit(second_model, training, validation, loss=losses.BCEDice(),
                       augment=augment.Affine(), config=changed,
                       folder=settings.runs_folder() / f"00-{CHANGE}-{TO}-{PROFILE}")
second_predictions = predict.predict_all(predict.load(second_run.folder), test)
second_scores = predict.scores(second_predictions)
second_mean = float(np.nanmean(second_scores.column("dsc")))
check.outcome("00-change", {"mean DSC of the second network": second_mean})

# %%
if PROFILE == "tiny":
    print(BANNER)
print(f"{CHANGE} = {TO} instead of {getattr(config, CHANGE)}: "
      f"mean DSC {second_mean:.3f} instead of {mean:.3f}, {len(scores)} patients")
networks = {"first network": predictions, f"{CHANGE} = {TO}": second_predictions}
show.comparison_sheet(networks, score=metrics.dsc,
                      alt="Above the first network, below the second; the same "
                          "patients, the slice with most tumour of each.")

# %% [markdown]
# Above the first network, below the second, in the same slices. Is the difference the epochs,
# or chance? Write `CHANGE, TO = "seed", 1` and run the three cells again: now nothing differs but
# what is drawn at random. A difference that is no larger than this one shows nothing. Then try
# `"epochs", 2 * EPOCHS`, or `"learning_rate", 3e-4`. Each goes to a run folder of its own. (The
# table keeps your first forecast, and the newest outcome.)

# %% [markdown]
# ## 6 · What was left behind
#
# Everything about a training lies in one *run folder*: the settings, the history, the weights.
# Nothing else is needed to predict new patients, not even this notebook.

# %%
for path in sorted(run.folder.rglob("*")):
    if path.is_file():
        name = path.relative_to(run.folder).as_posix()
        print(f"{name:60} {path.stat().st_size / 1024:8.1f} KB")

# %% [markdown]
# - `config.json`: patients, preparation, network, loss, training, versions. It is meant to be read.
# - `history.csv`: losses and DSC after every epoch. `tensorboard/`: the same for TensorBoard, a
#   program that draws them while a training runs (lesson 03).
# - `last.pt`: all that is needed to go on after a stop. `best.pt`: the weights of the best epoch.

# %%
assert run.history[-1]["training_loss"] < run.history[0]["training_loss"]
print(f"epoch {run.best['epoch']} of {EPOCHS} was kept: the highest validation DSC")
show.curves(run.history, alt="Training of the first network.")

# %% [markdown]
# Above, solid: the loss on the training slices, which ends lower than it began; dashed: on the
# validation slices, from which the network learns nothing. Below: the DSC of the validation
# patient, on the prepared grid. It is one patient, so a few pixels decide, and the curve may jump.
# The epoch with the highest DSC is kept, wherever it was.

# %% [markdown]
# ## 7 · What your machine can do
#
# The doctor looks at versions that must fit together, compares one training step on your graphics
# card with the same step on the CPU, looks for free memory and disk, and says how many minutes the
# lessons will take here. `FIX` lines come with the command that mends them. In a terminal it is
# `course doctor`.

# %%
doctor.run()

# %% [markdown]
# ## 8 · Exercises, and how far you are
#
# From lesson 01 on there are exercises. You write a function; a checker runs it on small examples
# and says in one line whether it is right, or what is wrong with it. What you solved and forecast
# is kept in `course.json`, in the folder of your runs; nothing is sent anywhere.

# %%
check.summary()

# %% [markdown]
# ## Summary
#
# You prepared a few patients, trained a network, scored it on patients that it had not seen,
# looked at where it fails, and changed one thing. Every lesson works like this: an idea, a few
# lines, a result, and what it shows and what it does not. Before each experiment there is a
# *forecast*: write it down, even if it is a guess; being wrong is how you notice what you believed.
#
# **Where things are.** `notebooks/` are the lessons, `course_lib/` is the library behind them
# (small enough to be read), `docs/results.md` says what was measured, and how.
#
# **What we left out.** Why U-Net looks the way it does, what the loss rewards, how sure a score
# is.
#
# **Next:** [01 · Look at the data](01_look_at_the_data.ipynb). For research and teaching; not for
# clinical use.
