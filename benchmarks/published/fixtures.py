"""The thirty competitions: files, names of columns, forms of ids and samples as they are published, photos drawn small.

A few of the photos, classes and columns stand for all; what makes a layout what it is stays: ids with and without ending, folders, second
tables, headers, values of the sample.
"""

import numpy as np

from benchmarks.published import graders
from benchmarks.published.drawing import N_TEST, N_TRAIN, Page, Published

BREEDS = ("Acer_Capillipes", "Quercus_Alba", "Zelkova_Serrata")
LESIONS = ("ETT - Abnormal", "ETT - Normal", "NGT - Normal", "CVC - Abnormal", "CVC - Normal", "Swan Ganz Catheter Present")
ANIMALS = ("antelope_duiker", "bird", "blank", "civet_genet")
RUSTS = ("leaf_rust", "stem_rust", "healthy_wheat")
SEEDLINGS = ("Black-grass", "Charlock", "Sugar beet")
PADDY = ("bacterial_leaf_blight", "blast", "normal")
PAINTERS = ("Vincent van Gogh", "Francisco Goya", "Titian")
OVARIES = ("CC", "EC", "HGSC")
BLOCKS = tuple("ABCDEFGHIJ")
AS_PROBABILITY = {"submission": "form: probability"}
"""What a sample of zeros does not say."""


def cactus(page: Page) -> None:
    """Folders inside folders of one name, ids with endings, a probability."""
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 2)):
        page.photo(f"train/train/{number:032x}.jpg", kind, 32)
        rows.append((f"{number:032x}.jpg", kind))
    for number, kind in enumerate(page.kinds(N_TEST, 2)):
        page.photo(f"test/test/{number + 999:032x}.jpg", kind, 32)
        page.truth[f"{number + 999:032x}.jpg"] = kind
    page.table("train.csv", ("id", "has_cactus"), rows)
    page.table("sample_submission.csv", ("id", "has_cactus"), [(i, 0.5) for i in page.truth])


def aptos(page: Page) -> None:
    """Ids without endings, a grade."""
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 5)):
        page.photo(f"train_images/{number:012x}.png", kind)
        rows.append((f"{number:012x}", kind))
    for number, kind in enumerate(page.kinds(N_TEST, 5)):
        page.photo(f"test_images/{number + 999:012x}.png", kind)
        page.truth[f"{number + 999:012x}"] = str(kind)
    page.table("train.csv", ("id_code", "diagnosis"), rows)
    page.table("test.csv", ("id_code",), [(i,) for i in page.truth])
    page.table("sample_submission.csv", ("id_code", "diagnosis"), [(i, 0) for i in page.truth])


def cassava(page: Page) -> None:
    """Class numbers whose names stand in a file that nobody needs."""
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 5)):
        page.photo(f"train_images/{1000015157 + number}.jpg", kind)
        rows.append((f"{1000015157 + number}.jpg", kind))
    for number, kind in enumerate(page.kinds(N_TEST, 5)):
        page.photo(f"test_images/{2216849948 + number}.jpg", kind)
        page.truth[f"{2216849948 + number}.jpg"] = str(kind)
    page.table("train.csv", ("image_id", "label"), rows)
    page.table("sample_submission.csv", ("image_id", "label"), [(i, 4) for i in page.truth])
    page.json("label_num_to_disease_map.json", {str(k): f"disease {k}" for k in range(5)})


def dogs(page: Page) -> None:
    """The class in the name, test ids 1, 2, 3 without endings."""
    for number, kind in enumerate(page.kinds(N_TRAIN, 2)):
        page.photo(f"train/{('cat', 'dog')[kind]}.{number}.jpg", kind)
    for number, kind in enumerate(page.kinds(N_TEST, 2)):
        page.photo(f"test/{number + 1}.jpg", kind)
        page.truth[str(number + 1)] = kind
    page.table("sample_submission.csv", ("id", "label"), [(i, 0.5) for i in page.truth])


def ranzcr(page: Page) -> None:
    """Ids with dots and without ending, a column per finding, a patient; a table of marks beside it."""
    patients = [f"{number // 2:09x}" for number in range(N_TRAIN)]
    rows, marked = [], []
    for number, patient in enumerate(patients):
        marks = [bool(mark) for mark in page.rng.random(len(LESIONS)) < 0.4]
        name = f"1.2.826.0.1.3680043.8.498.{10000000 + number * 37}"
        page.marked(f"train/{name}.jpg", marks)
        rows.append((name, *map(int, marks), patient))
        marked.append((name, "CVC - Normal", "[[1, 2]]"))
    for number in range(N_TEST):
        marks = [bool((number + k) % 3 == 0) for k in range(len(LESIONS))]
        name = f"1.2.826.0.1.3680043.8.498.{90000000 + number * 37}"
        page.marked(f"test/{name}.jpg", marks)
        page.truth[name] = [int(mark) for mark in marks]
    page.table("train.csv", ("StudyInstanceUID", *LESIONS, "PatientID"), rows)
    page.table("train_annotations.csv", ("StudyInstanceUID", "label", "data"), [*marked, *marked[:4]])
    page.table("sample_submission.csv", ("StudyInstanceUID", *LESIONS), [(i, *[0] * len(LESIONS)) for i in page.truth])


def melanoma(page: Page) -> None:
    """Test photos with a table of patients of their own; the sample holds zeros where probabilities are asked for."""
    header = ("image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge")
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 2)):
        page.photo(f"jpeg/train/ISIC_{2637011 + number}.jpg", kind)
        known = (
            f"ISIC_{2637011 + number}",
            f"IP_{number // 3:07}",
            ("male", "female")[number % 2],
            40.0 + number % 5 * 5,
            "torso",
        )
        rows.append((*known, ("nevus", "melanoma")[kind], ("benign", "malignant")[kind], kind))
    test = []
    for number, kind in enumerate(page.kinds(N_TEST, 2)):
        page.photo(f"jpeg/test/ISIC_{52060 + number:07}.jpg", kind)
        page.truth[f"ISIC_{52060 + number:07}"] = kind
        test.append((f"ISIC_{52060 + number:07}", f"IP_{number // 3 + 900:07}", "male", 70.0, "torso"))
    page.table("train.csv", (*header, "diagnosis", "benign_malignant", "target"), rows)
    page.table("test.csv", header, test)
    page.table("sample_submission.csv", ("image_name", "target"), [(i, 0) for i in page.truth])


def iwildcam_2019(page: Page) -> None:
    """Locations and sequences, class numbers with gaps, headers of another case in the sample."""
    header = (
        "category_id",
        "date_captured",
        "file_name",
        "frame_num",
        "id",
        "location",
        "rights_holder",
        "seq_id",
        "width",
        "height",
    )

    def row(number: int, kind: int, front: str, place: int) -> tuple[object, ...]:
        name = f"{front}-21bc-11ca-{number:012x}"
        return (
            kind,
            "2011-05-13 23:43:18",
            f"{name}.jpg",
            number % 3 + 1,
            name,
            place,
            "donor",
            f"seq-{front}-{number // 3}",
            1024,
            747,
        )

    rows = [row(number, (0, 13, 19)[kind], "5998cfa4", number // 4) for number, kind in enumerate(page.kinds(N_TRAIN, 3))]
    for one in rows:
        page.photo(f"train_images/{one[2]}", (0, 13, 19).index(int(str(one[0]))))
    test = [row(number, (0, 13, 19)[kind], "7998cfa4", 90 + number // 4) for number, kind in enumerate(page.kinds(N_TEST, 3))]
    for one in test:
        page.photo(f"test_images/{one[2]}", (0, 13, 19).index(int(str(one[0]))))
        page.truth[str(one[4])] = str(one[0])
    page.table("train.csv", header, rows)
    page.table("test.csv", header[1:], [one[1:] for one in test])
    page.table("sample_submission.csv", ("Id", "Category"), [(i, 0) for i in page.truth])


def iwildcam_2020(page: Page) -> None:
    """COCO files for training and for the test, and a file of boxes beside them."""
    kinds, known = page.kinds(N_TRAIN, 3), (0, 4, 372)
    categories = [{"id": k, "name": name, "count": 9} for k, name in zip(known, ("empty", "ocelot", "puma"), strict=True)]

    def image(number: int, front: str, place: int) -> dict[str, object]:
        name = f"{front}-21bc-11ea-{number:012x}"
        where = {"location": place, "seq_id": f"{front}{number // 3}", "seq_num_frames": 3, "frame_num": number % 3}
        return {"id": name, "file_name": f"{name}.jpg", "width": 40, "height": 40, "datetime": "2013-06-05 05:44:19.000", **where}

    train = [image(number, "8ce3", number // 4) for number in range(N_TRAIN)]
    test = [image(number, "9ce3", 90 + number // 4) for number in range(N_TEST)]
    notes = [{"id": f"n{n}", "image_id": one["id"], "category_id": known[kinds[n]], "count": 1} for n, one in enumerate(train)]
    for one, kind in zip(train, kinds, strict=True):
        page.photo(f"train/{one['file_name']}", kind)
    for one, kind in zip(test, page.kinds(N_TEST, 3), strict=True):
        page.photo(f"test/{one['file_name']}", kind)
        page.truth[str(one["id"])] = str(known[kind])
    page.json(
        "iwildcam2020_train_annotations.json", {"info": {}, "images": train, "annotations": notes, "categories": categories}
    )
    page.json("iwildcam2020_test_information.json", {"info": {}, "images": test, "categories": categories})
    boxes = [{"id": one["id"], "detections": [], "max_detection_conf": 0.0} for one in (*train, *test)]
    page.json("iwildcam2020_megadetector_results.json", {"info": {}, "images": boxes, "detection_categories": {}})
    page.table("sample_submission.csv", ("Id", "Category"), [(i, 0) for i in page.truth])


def inaturalist(page: Page) -> None:
    """COCO files whose photos stand two folders deep, numbers for ids, validation photos in a file of their own."""
    categories = [{"id": k, "name": str(k), "supercategory": "Plants"} for k in range(3)]

    def part(numbers: range, kinds: list[int], folder: str, *, deep: bool) -> list[dict[str, object]]:
        images: list[dict[str, object]] = []
        for number, kind in zip(numbers, kinds, strict=True):
            name = f"{folder}/Plants/{kind}/{number:032x}.jpg" if deep else f"{folder}/{number:032x}.jpg"
            page.photo(name, kind)
            images.append({"id": number, "file_name": name, "width": 40, "height": 40, "license": 0, "rights_holder": "someone"})
        return images

    kinds, judges, asked = page.kinds(N_TRAIN, 3), page.kinds(6, 3), page.kinds(N_TEST, 3)
    for name, numbers, known in (("train2019", range(N_TRAIN), kinds), ("val2019", range(100, 106), judges)):
        images = part(numbers, known, "train_val2019", deep=True)
        notes = [{"id": n, "image_id": n, "category_id": kind} for n, kind in zip(numbers, known, strict=True)]
        page.json(f"{name}.json", {"images": images, "annotations": notes, "categories": categories})
    test = part(range(268243, 268243 + N_TEST), asked, "test2019", deep=False)
    page.json("test2019.json", {"images": test, "categories": categories})
    page.truth.update({str(one["id"]): str(kind) for one, kind in zip(test, asked, strict=True)})
    page.table("kaggle_sample_submission.csv", ("id", "predicted"), [(i, 0) for i in page.truth])


def herbarium(page: Page) -> None:
    """A COCO file called the same in both parts, nested folders, an institution."""
    families = ("Asteraceae", "Fabaceae")
    categories = [{"id": k, "name": f"genus {k}", "family": families[k % 2], "genus": f"genus {k}"} for k in range(4)]
    kinds, asked = page.kinds(N_TRAIN, 4), page.kinds(N_TEST, 4)
    train, notes = [], []
    for number, kind in enumerate(kinds):
        name = f"images/{kind:03}/{number % 3:02}/{437000 + number}.jpg"
        page.photo(f"nybg2020/train/{name}", kind)
        train.append({"id": 437000 + number, "file_name": name, "license": 1, "height": 40, "width": 40})
        notes.append({"id": 437000 + number, "image_id": 437000 + number, "category_id": kind, "region_id": number % 5})
    test = []
    for number, kind in enumerate(asked):
        page.photo(f"nybg2020/test/images/000/{number}.jpg", kind)
        test.append({"id": number, "file_name": f"images/000/{number}.jpg", "license": 1, "height": 40, "width": 40})
        page.truth[str(number)] = str(kind)
    regions = [{"id": k, "name": f"region {k}"} for k in range(5)]
    whole = {"images": train, "annotations": notes, "categories": categories, "regions": regions, "licenses": []}
    page.json("nybg2020/train/metadata.json", whole)
    page.json("nybg2020/test/metadata.json", {"images": test, "info": {}, "licenses": []})
    page.table("sample_submission.csv", ("Id", "Predicted"), [(i, 0) for i in page.truth])


def leaves(page: Page) -> None:
    """Photos of both parts in one folder, measurements beside the species, a probability for each."""
    numbers = [int(n) for n in page.rng.permutation(N_TRAIN + N_TEST) + 1]
    measured = tuple(f"{what}{k}" for what in ("margin", "shape", "texture") for k in (1, 2))
    rows, test = [], []
    for number, kind in zip(numbers[:N_TRAIN], page.kinds(N_TRAIN, 3), strict=True):
        page.photo(f"images/{number}.jpg", kind)
        rows.append((number, BREEDS[kind], *(round(float(v), 6) for v in page.rng.random(6))))
    for number, kind in zip(numbers[N_TRAIN:], page.kinds(N_TEST, 3), strict=True):
        page.photo(f"images/{number}.jpg", kind)
        test.append((number, *(round(float(v), 6) for v in page.rng.random(6))))
        page.truth[str(number)] = BREEDS[kind]
    page.table("train.csv", ("id", "species", *measured), rows)
    page.table("test.csv", ("id", *measured), test)
    page.table("sample_submission.csv", ("id", *BREEDS), [(i, *[1 / 3] * 3) for i in page.truth])


def invasive(page: Page) -> None:
    """Photos 1.jpg, 2.jpg, ... in both parts."""
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 2)):
        page.photo(f"train/{number + 1}.jpg", kind)
        rows.append((number + 1, kind))
    for number, kind in enumerate(page.kinds(N_TEST, 2)):
        page.photo(f"test/{number + 1}.jpg", kind)
        page.truth[str(number + 1)] = kind
    page.table("train_labels.csv", ("name", "invasive"), rows)
    page.table("sample_submission.csv", ("name", "invasive"), [(i, 0.5) for i in page.truth])


def paddy(page: Page) -> None:
    """A folder per class and a table that says it too; the sample's answers are empty."""
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 3)):
        page.photo(f"train_images/{PADDY[kind]}/{100330 + number}.jpg", kind)
        rows.append((f"{100330 + number}.jpg", PADDY[kind], ("ADT45", "IR20")[number % 2], 45 + number % 4 * 5))
    for number, kind in enumerate(page.kinds(N_TEST, 3)):
        page.photo(f"test_images/{200001 + number}.jpg", kind)
        page.truth[f"{200001 + number}.jpg"] = PADDY[kind]
    page.table("train.csv", ("image_id", "label", "variety", "age"), rows)
    page.table("sample_submission.csv", ("image_id", "label"), [(i, "") for i in page.truth])


def seedlings(page: Page) -> None:
    """A folder per class, names with spaces, no table but the sample."""
    for number, kind in enumerate(page.kinds(N_TRAIN, 3)):
        page.photo(f"train/{SEEDLINGS[kind]}/{number:09x}.png", kind)
    for number, kind in enumerate(page.kinds(N_TEST, 3)):
        page.photo(f"test/{number + 999:09x}.png", kind)
        page.truth[f"{number + 999:09x}.png"] = SEEDLINGS[kind]
    page.table("sample_submission.csv", ("file", "species"), [(i, "Sugar beet") for i in page.truth])


def masks(page: Page) -> None:
    """A folder per person, whose name says sex and age, and the state of the mask in the photo's name."""
    rows = []
    states = {**{f"mask{k}": 0 for k in range(1, 6)}, "incorrect_mask": 1, "normal": 2}
    for number in range(12):
        sex, age = ("male", "female")[number % 2], (22, 41, 60)[number // 2 % 3]
        folder = f"{number:06}_{sex}_Asian_{age}"
        rows.append((f"{number:06}", sex, "Asian", age, folder))
        for stem, state in states.items():
            page.photo(f"train/images/{folder}/{stem}.jpg", state)
    for number in range(N_TEST):
        page.photo(f"eval/images/{number:040x}.jpg", number % 3)
        page.truth[f"{number:040x}.jpg"] = str(number % 3 * 6 + number % 2 * 3 + number // 2 % 3)
    page.table("train/train.csv", ("id", "gender", "race", "age", "path"), rows)
    page.table("eval/info.csv", ("ImageID", "ans"), [(i, 0) for i in page.truth])


def ovaries(page: Page) -> None:
    """Numbers for ids, sizes beside the label; the whole slides are larger than any limit and are drawn small here."""
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 3)):
        page.photo(f"train_images/{4 + number * 7}.png", kind)
        rows.append((4 + number * 7, OVARIES[kind], 23785, 20008, number % 9 == 0))
    for number, kind in enumerate(page.kinds(N_TEST, 3)):
        page.photo(f"test_images/{10041 + number}.png", kind)
        page.truth[str(10041 + number)] = OVARIES[kind]
    page.table("train.csv", ("image_id", "label", "image_width", "image_height", "is_tma"), rows)
    page.table("test.csv", ("image_id", "image_width", "image_height"), [(i, 28469, 16987) for i in page.truth])
    page.table("sample_submission.csv", ("image_id", "label"), [(i, "HGSC") for i in page.truth])


def conservision(page: Page) -> None:
    """Labels in a table of their own, one column per class; sites that no two parts share."""
    features, labels, test = [], [], []
    for number, kind in enumerate(page.kinds(N_TRAIN, 4)):
        page.photo(f"train_features/ZJ{number:06}.jpg", kind)
        features.append((f"ZJ{number:06}", f"train_features/ZJ{number:06}.jpg", f"S{number // 3:04}"))
        labels.append((f"ZJ{number:06}", *(float(k == kind) for k in range(4))))
    for number, kind in enumerate(page.kinds(N_TEST, 4)):
        page.photo(f"test_features/ZJ{16488 + number:06}.jpg", kind)
        test.append((f"ZJ{16488 + number:06}", f"test_features/ZJ{16488 + number:06}.jpg", f"S{900 + number // 3:04}"))
        page.truth[f"ZJ{16488 + number:06}"] = ANIMALS[kind]
    page.table("train_features.csv", ("id", "filepath", "site"), features)
    page.table("train_labels.csv", ("id", *ANIMALS), labels)
    page.table("test_features.csv", ("id", "filepath", "site"), test)
    page.table("submission_format.csv", ("id", *ANIMALS), [(i, *[0.25] * 4) for i in page.truth])


def painters(page: Page) -> None:
    """Paths that begin with a dot, and a table of painters."""
    rows, test = [], []
    for number, kind in enumerate(page.kinds(N_TRAIN, 3)):
        page.photo(f"train/{number:04}.jpg", kind)
        rows.append((number, f"./train/{number:04}.jpg", PAINTERS[kind]))
    for number, kind in enumerate(page.kinds(N_TEST, 3)):
        page.photo(f"test/TEST_{number:05}.jpg", kind)
        test.append((f"TEST_{number:05}", f"./test/TEST_{number:05}.jpg"))
        page.truth[f"TEST_{number:05}"] = PAINTERS[kind]
    page.table("train.csv", ("id", "img_path", "artist"), rows)
    page.table("test.csv", ("id", "img_path"), test)
    page.table(
        "artists_info.csv", ("name", "years", "genre", "nationality"), [(name, "1800 - 1850", "x", "y") for name in PAINTERS]
    )
    page.table("sample_submission.csv", ("id", "artist"), [(i, PAINTERS[0]) for i in page.truth])


def blocks(page: Page) -> None:
    """Ten columns of 0 and 1, each asked for by itself."""
    rows, test = [], []
    for number in range(N_TRAIN):
        marks = [bool(mark) for mark in page.rng.random(10) < 0.4]
        page.marked(f"train/TRAIN_{number:05}.jpg", marks)
        rows.append((f"TRAIN_{number:05}", f"./train/TRAIN_{number:05}.jpg", *map(int, marks)))
    for number in range(N_TEST):
        marks = [bool(mark) for mark in page.rng.random(10) < 0.4]
        page.marked(f"test/TEST_{number:05}.jpg", marks)
        test.append((f"TEST_{number:05}", f"./test/TEST_{number:05}.jpg"))
        page.truth[f"TEST_{number:05}"] = [int(mark) for mark in marks]
    page.table("train.csv", ("id", "img_path", *BLOCKS), rows)
    page.table("test.csv", ("id", "img_path"), test)
    page.table("sample_submission.csv", ("id", *BLOCKS), [(i, *[0] * 10) for i in page.truth])


def wheat(page: Page) -> None:
    """A folder per class inside a folder of the part's name, endings of three kinds, ids without them."""
    for number, kind in enumerate(page.kinds(N_TRAIN, 3)):
        page.photo(f"train/train/{RUSTS[kind]}/{number:06X}.{('jpg', 'jfif', 'png')[number % 3]}", kind)
    for number, kind in enumerate(page.kinds(N_TEST, 3)):
        page.photo(f"test/test/{number + 999:06X}.{('jpg', 'jfif')[number % 2]}", kind)
        page.truth[f"{number + 999:06X}"] = RUSTS[kind]
    page.table("sample_submission.csv", ("ID", *RUSTS), [(i, 0, 0, 0) for i in page.truth])


def documents(page: Page) -> None:
    """Class numbers, and a table of their names."""
    rows = []
    for number, kind in enumerate(page.kinds(N_TRAIN, 4)):
        page.photo(f"train/{number:016x}.jpg", kind)
        rows.append((f"{number:016x}.jpg", kind))
    for number, kind in enumerate(page.kinds(N_TEST, 4)):
        page.photo(f"test/{number + 999:016x}.jpg", kind)
        page.truth[f"{number + 999:016x}.jpg"] = str(kind)
    page.table("train.csv", ("ID", "target"), rows)
    page.table("meta.csv", ("target", "class_name"), [(k, f"document {k}") for k in range(4)])
    page.table("sample_submission.csv", ("ID", "target"), [(i, 0) for i in page.truth])


def digits(page: Page) -> None:
    """Pixels as columns, no ids: the sample counts the test rows from 1."""
    for part, n_photos in (("train", N_TRAIN), ("test", N_TEST)):
        rows = list[tuple[int, ...]]()
        for number, kind in enumerate(page.kinds(n_photos, 3)):
            pixels = np.clip(page.rng.integers(0, 40, 784) + kind * 90, 0, 255)
            rows.append((*([kind] if part == "train" else []), *pixels.tolist()))
            if part == "test":
                page.truth[str(number + 1)] = str(kind)
        names = tuple(f"pixel{k}" for k in range(784))
        page.table(f"{part}.csv", (*(["label"] if part == "train" else []), *names), rows)
    page.table("sample_submission.csv", ("ImageId", "Label"), [(i, 0) for i in page.truth])


def signals(page: Page) -> None:
    """Arrays of six panels of float16, one folder per first sign of the id."""
    rows = []
    for number, kind in enumerate([*page.kinds(N_TRAIN, 2), *page.kinds(N_TEST, 2)]):
        part, name = ("train", "test")[number >= N_TRAIN], f"{number * 2654435761 % 2**32:08x}ac{number:02x}"
        panels = page.rng.normal(size=(6, 27, 25)).astype(np.float16)
        if kind:
            panels[::2, :, 9 + number % 5] += 3
        page.array(f"{part}/{name[0]}/{name}.npy", panels)
        rows.append((name, kind))
    page.truth.update(dict(rows[N_TRAIN:]))
    page.table("train_labels.csv", ("id", "target"), rows[:N_TRAIN])
    page.table("sample_submission.csv", ("id", "target"), [(i, 0.5) for i in page.truth])


def _numbers(n_classes: int) -> tuple[str, ...]:
    return tuple(map(str, range(n_classes)))


PUBLISHED: dict[str, Published] = {
    "aerial_cactus": Published(cactus, graders.probability(("id", "has_cactus"), graders.roc_auc), metric="roc_auc"),
    "aptos": Published(aptos, graders.classes(("id_code", "diagnosis"), _numbers(5), graders.kappa), metric="qwk"),
    "cassava": Published(cassava, graders.classes(("image_id", "label"), _numbers(5), graders.accuracy), metric="accuracy"),
    "dogs_vs_cats": Published(dogs, graders.probability(("id", "label"), graders.negative_log_loss), metric="log_loss_sklearn"),
    "plant_pathology": Published(None, lacks="SET"),
    "ranzcr": Published(
        ranzcr, graders.probability(("StudyInstanceUID", *LESIONS), graders.roc_auc), metric="roc_auc", by_hand=AS_PROBABILITY
    ),
    "siim_isic": Published(
        melanoma, graders.probability(("image_name", "target"), graders.roc_auc), metric="roc_auc", by_hand=AS_PROBABILITY
    ),
    "iwildcam_2019": Published(
        iwildcam_2019, graders.classes(("Id", "Category"), ("0", "13", "19"), graders.macro_f1), metric="macro_f1_sklearn"
    ),
    "iwildcam_2020": Published(
        iwildcam_2020, graders.classes(("Id", "Category"), ("0", "4", "372"), graders.accuracy), metric="accuracy"
    ),
    "inaturalist_2019": Published(
        inaturalist, graders.classes(("id", "predicted"), _numbers(3), graders.accuracy), metric="accuracy"
    ),
    "herbarium_2020": Published(
        herbarium, graders.classes(("Id", "Predicted"), _numbers(4), graders.macro_f1), metric="macro_f1_sklearn"
    ),
    "leaf": Published(leaves, graders.probabilities(("id", *BREEDS)), metric="log_loss_sklearn"),
    "iceberg": Published(None, lacks="ARRAY, CHAN"),
    "rsna_breast": Published(None, lacks="DICOM, UNIT, OWN"),
    "imet_2020": Published(None, lacks="SET"),
    "invasive": Published(invasive, graders.probability(("name", "invasive"), graders.roc_auc), metric="roc_auc"),
    "paddy": Published(paddy, graders.classes(("image_id", "label"), PADDY, graders.accuracy), metric="accuracy"),
    "plant_seedlings": Published(seedlings, graders.classes(("file", "species"), SEEDLINGS, graders.accuracy), metric="accuracy"),
    "seti": Published(signals, graders.probability(("id", "target"), graders.roc_auc), metric="roc_auc"),
    "mask": Published(masks, graders.classes(("ImageID", "ans"), _numbers(18), graders.macro_f1), metric="macro_f1_sklearn"),
    "planet": Published(None, lacks="SET"),
    "protein_atlas": Published(None, lacks="CHAN, SET"),
    "recursion": Published(None, lacks="CHAN, UNIT"),
    "ubc_ocean": Published(
        ovaries, graders.classes(("image_id", "label"), (*OVARIES, "Other"), graders.balanced), metric="balanced_accuracy"
    ),
    "conser_vision": Published(conservision, graders.probabilities(("id", *ANIMALS)), metric="log_loss_sklearn"),
    "painters": Published(painters, graders.classes(("id", "artist"), PAINTERS, graders.macro_f1), metric="macro_f1_sklearn"),
    "blocks": Published(blocks, graders.columns_of_classes(("id", *BLOCKS)), metric="accuracy"),
    "wheat_rust": Published(wheat, graders.probabilities(("ID", *RUSTS)), metric="log_loss_sklearn"),
    "documents": Published(
        documents, graders.classes(("ID", "target"), _numbers(4), graders.macro_f1), metric="macro_f1_sklearn"
    ),
    "digits": Published(digits, graders.classes(("ImageId", "Label"), _numbers(3), graders.accuracy), metric="accuracy"),
}
"""Name -> competition, in the order of the facts in the issue that asked for them."""
