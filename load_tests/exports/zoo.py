"""Forty models of four libraries, exported as their users do; runs where the libraries are.

    python zoo.py FOLDER

Writes FOLDER/models/NAME/1/model.onnx, and FOLDER/NAME.npz with rows for every input (`in NAME`)
and what the library predicts for them (`out INDEX`, by the output's place). Everything is seeded.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import onnxmltools
import xgboost
from catboost import CatBoostClassifier, CatBoostRegressor
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloat
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAMES = np.array(["barolo", "grignolino", "barbera"])
SKL_OPSETS = {"": 18, "ai.onnx.ml": 3}  # isolation forests have no newer conversion


class Case(NamedTuple):
    """One export: the file, rows for its inputs, and predictions by the output's place."""

    model: Any
    rows: Mapping[str, Any]
    predicted: Mapping[int, Any]


def wine() -> tuple[Any, Any, Any]:
    data = load_wine()
    return data.data.astype("f4"), NAMES[data.target], data.target


def classifiers() -> dict[str, Any]:
    return {
        "logistic": linear_model.LogisticRegression(max_iter=300),
        "tree": tree.DecisionTreeClassifier(random_state=0),
        "forest": ensemble.RandomForestClassifier(30, random_state=0),
        "extra_trees": ensemble.ExtraTreesClassifier(30, random_state=0),
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
        "hist_boosting": ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=0),
        "neighbours": neighbors.KNeighborsClassifier(),
        "svc": svm.SVC(probability=True, random_state=0),
        "perceptron": neural_network.MLPClassifier((16,), max_iter=200, random_state=0),
        "bayes": naive_bayes.GaussianNB(),
    }


def scikit_classifiers() -> Iterator[tuple[str, Case]]:
    """With the converter's defaults (ZipMap) and names; then tensors; then two classes."""
    rows, names, numbers = wine()
    for name, model in classifiers().items():
        yield f"skl_{name}", classified(model.fit(rows, names), rows)
    for name in ("logistic", "forest", "hist_boosting", "neighbours", "svc", "perceptron"):
        model = classifiers()[name].fit(rows, numbers)
        yield f"skl_{name}_tensor", classified(model, rows, {"zipmap": False})
    cancer = load_breast_cancer()
    rows = cancer.data.astype("f4")
    for name in ("logistic", "boosting", "svc"):
        pipeline = make_pipeline(StandardScaler(), classifiers()[name])
        yield f"skl_{name}_binary", classified(pipeline.fit(rows, cancer.target), rows)


def classified(model: Any, rows: Any, options: Mapping[str, Any] | None = None) -> Case:
    last = model[-1] if hasattr(model, "steps") else model
    given = {id(last): dict(options)} if options else None
    content = to_onnx(model, rows[:1], options=given, target_opset=SKL_OPSETS)
    return Case(content, {"X": rows}, {0: model.predict(rows), 1: model.predict_proba(rows)})


def scikit_regressors() -> Iterator[tuple[str, Case]]:
    data = load_diabetes()
    rows = data.data.astype("f4")
    for name, model in {
        "linear": linear_model.LinearRegression(),
        "ridge": linear_model.Ridge(),
        "forest": ensemble.RandomForestRegressor(30, random_state=0),
        "boosting": ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0),
        "svr": svm.SVR(),
        "neighbours": neighbors.KNeighborsRegressor(),
    }.items():
        content = to_onnx(model.fit(rows, data.target), rows[:1], target_opset=SKL_OPSETS)
        outputs = {0: column(model.predict(rows))}
        yield f"skl_{name}_regression", Case(content, {"X": rows}, outputs)


def column(values: Any) -> Any:
    return np.asarray(values).reshape(-1, 1)


def scikit_others() -> Iterator[tuple[str, Case]]:
    """Without a target; a frame of columns; texts; missing values; float64."""
    rows, names, _ = wine()
    means = KMeans(3, random_state=0, n_init=3).fit(rows)
    content = to_onnx(means, rows[:1], target_opset=SKL_OPSETS)
    outputs = {0: means.predict(rows), 1: means.transform(rows)}
    yield "skl_kmeans", Case(content, {"X": rows}, outputs)
    lonely = ensemble.IsolationForest(n_estimators=20, random_state=0).fit(rows)
    content = to_onnx(lonely, rows[:1], target_opset=SKL_OPSETS)
    scores = column(lonely.decision_function(rows))
    yield "skl_isolation", Case(content, {"X": rows}, {0: column(lonely.predict(rows)), 1: scores})
    wide = rows.astype("f8")
    scaled = make_pipeline(StandardScaler(), linear_model.LogisticRegression(max_iter=300))
    yield "skl_float64", classified(scaled.fit(wide, names), wide)
    holes = rows.copy()
    holes[::3, 2] = np.nan
    filled = make_pipeline(SimpleImputer(), classifiers()["forest"])
    yield "skl_missing", classified(filled.fit(holes, names), holes)
    yield "skl_frame", framed()
    yield "skl_texts", texts()


def framed() -> Case:
    frame = load_wine(as_frame=True)
    columns = frame.data.astype("f4")
    model = make_pipeline(StandardScaler(), linear_model.LogisticRegression(max_iter=300))
    model.fit(columns, frame.target)
    content = to_onnx(model, columns[:1], target_opset=SKL_OPSETS)
    inputs = [tensor.name for tensor in content.graph.input]
    rows = {
        name: columns[[of]].to_numpy() for name, of in zip(inputs, columns.columns, strict=True)
    }
    return Case(content, rows, {0: model.predict(columns), 1: model.predict_proba(columns)})


def texts() -> Case:
    import pandas as pd  # noqa: PLC0415

    rng = np.random.default_rng(0)
    colour = rng.choice(["red", "green", "blue"], 300)
    size = rng.normal(size=300).astype("f4")
    kind = np.where((colour == "red") ^ (size > 0.3), "sour", "sweet")
    frame = pd.DataFrame({"colour": colour, "size": size})
    columns = ColumnTransformer(
        [
            ("c", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
            ("s", StandardScaler(), ["size"]),
        ]
    )
    model = make_pipeline(columns, classifiers()["forest"]).fit(frame, kind)
    types = [("colour", StringTensorType([None, 1])), ("size", FloatTensorType([None, 1]))]
    content = to_onnx(model, initial_types=types, target_opset=SKL_OPSETS)
    frame.loc[::10, "colour"] = "violet"  # was never seen
    rows = {"colour": frame[["colour"]].to_numpy(object), "size": size[:, None]}
    return Case(content, rows, {0: model.predict(frame), 1: model.predict_proba(frame)})


def boosted() -> Iterator[tuple[str, Case]]:
    """XGBoost and LightGBM, by onnxmltools, with missing values in the rows."""
    rows, names, numbers = wine()
    holes = rows.copy()
    holes[::4, 5] = np.nan
    two = numbers == 0
    score = rows[:, 0]
    trees = {"n_estimators": 20, "random_state": 0}
    convert = onnxmltools.convert_xgboost
    xgb = xgboost.XGBClassifier(**trees)
    yield "xgb_classes", tooled(xgb.fit(holes, numbers), holes, convert)
    yield "xgb_binary", tooled(xgboost.XGBClassifier(**trees).fit(holes, two), holes, convert)
    yield "xgb_regression", tooled(xgboost.XGBRegressor(**trees).fit(holes, score), holes, convert)
    convert = onnxmltools.convert_lightgbm
    quiet = {**trees, "verbose": -1}
    lgbm = lightgbm.LGBMClassifier(**quiet)
    yield "lgbm_classes", tooled(lgbm.fit(holes, names), holes, convert)
    lgbm = lightgbm.LGBMClassifier(**quiet).fit(holes, numbers)
    yield "lgbm_tensor", tooled(lgbm, holes, convert, zipmap=False)
    regression = lightgbm.LGBMRegressor(**quiet).fit(holes, score)
    yield "lgbm_regression", tooled(regression, holes, convert)


def tooled(model: Any, rows: Any, convert: Callable[..., Any], **options: Any) -> Case:
    types = [("input", ToolsFloat([None, rows.shape[1]]))]
    content = convert(model, initial_types=types, **options)
    if not hasattr(model, "predict_proba"):
        return Case(content, {"input": rows}, {0: column(model.predict(rows))})
    return Case(content, {"input": rows}, {0: model.predict(rows), 1: model.predict_proba(rows)})


def cats() -> Iterator[tuple[str, Case]]:
    """CatBoost writes ONNX itself."""
    rows, names, numbers = wine()
    options = {"iterations": 20, "depth": 4, "verbose": False, "random_seed": 0}
    options["allow_writing_files"] = False
    model = CatBoostClassifier(**options).fit(rows, names)
    outputs = {0: model.predict(rows).ravel(), 1: model.predict_proba(rows)}
    yield "cat_classes", Case(model, {"features": rows}, outputs)
    model = CatBoostClassifier(**options).fit(rows, (numbers == 0).astype(int))
    outputs = {0: model.predict(rows).ravel(), 1: model.predict_proba(rows)}
    yield "cat_binary", Case(model, {"features": rows}, outputs)
    model = CatBoostRegressor(**options).fit(rows, rows[:, 0])
    yield "cat_regression", Case(model, {"features": rows}, {0: column(model.predict(rows))})


def save(folder: Path, name: str, case: Case) -> None:
    path = folder / "models" / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    if hasattr(case.model, "SerializeToString"):
        path.write_bytes(case.model.SerializeToString())
    else:
        case.model.save_model(str(path), format="onnx")
    rows = {f"in {name}": np.asarray(array) for name, array in case.rows.items()}
    outs = {f"out {place}": np.asarray(array) for place, array in case.predicted.items()}
    arrays: dict[str, Any] = {
        key: array.astype(str) if array.dtype == object else array
        for key, array in (rows | outs).items()
    }
    np.savez(folder / f"{name}.npz", **arrays)


def main() -> None:
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    for family in (scikit_classifiers, scikit_regressors, scikit_others, boosted, cats):
        for name, case in family():
            save(folder, name, case)
            print(name, flush=True)


if __name__ == "__main__":
    main()
