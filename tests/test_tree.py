"""The tree: every file is found by its name, and every test stands in the folder of its subject."""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOUSE = ROOT / "gateway"
TESTS = ROOT / "tests"
BESIDE = ("load_tests", "models", "protos")
MOST_FILES = 21
NAMELESS = ("__init__", "__main__", "conftest")


def python_files(folder):
    return sorted(file for file in folder.rglob("*.py") if file.stem not in NAMELESS)


def all_tests():
    return [file for file in python_files(TESTS) if file.name.startswith("test_")]


def below(file):
    return file.relative_to(TESTS).parent


def twice(files):
    counted = Counter(file.stem for file in files)
    return [str(file.relative_to(ROOT)) for file in files if counted[file.stem] > 1]


def subjects(folder):
    """The names that a test in this folder of tests may be about.

    These are the entries of the folder that it mirrors, or that folder as a whole.
    """
    mirrored = (ROOT if folder.parts[0] in BESIDE else HOUSE) / folder
    entries = mirrored.iterdir() if mirrored.is_dir() else ()
    return {
        folder.name,
        *(entry.name.partition(".")[0] for entry in entries if entry.name != "__pycache__"),
    }


def is_about(test, subject):
    return f"{test.stem}_".startswith(f"test_{subject}_")


def test_a_files_name_is_its_alone():
    assert twice(python_files(HOUSE)) == []


def test_a_tests_name_is_its_alone():
    assert twice(python_files(TESTS)) == []


def mirroring():
    return [file for file in all_tests() if below(file) not in {Path(), Path("end_to_end")}]


def test_a_folder_of_tests_mirrors_a_folder_of_the_house():
    folders = {below(file) for file in mirroring()}
    assert [
        str(folder)
        for folder in sorted(folders)
        if not (HOUSE / folder).is_dir() and folder.parts[0] not in BESIDE
    ] == []


def test_a_test_is_named_for_the_file_it_is_about_and_stands_where_that_stands():
    assert mirroring()
    strangers = [
        file
        for file in mirroring()
        if not any(is_about(file, subject) for subject in subjects(below(file)))
    ]
    assert [str(file.relative_to(TESTS)) for file in strangers] == []


def test_what_tests_share_stands_in_one_folder_and_is_used():
    helpers = [file for file in python_files(TESTS) if not file.name.startswith("test_")]
    assert {str(below(file)) for file in helpers} == {"support"}
    texts = {file: file.read_text() for file in TESTS.rglob("*.py")}
    unused = [
        helper.stem
        for helper in helpers
        if not any(helper.stem in text for file, text in texts.items() if file != helper)
    ]
    assert unused == []


def test_no_folder_of_the_house_is_too_full_to_be_overlooked():
    counted = Counter(str(file.parent.relative_to(ROOT)) for file in python_files(HOUSE))
    assert {folder: count for folder, count in counted.items() if count > MOST_FILES} == {}
