"""What skl2onnx writes from rows of float64 is served as scikit-learn predicts, once rewritten."""

import numpy as np
import onnxruntime
import pytest

from gateway.onnx.conversion.rewrite import rewrite

skl2onnx = pytest.importorskip("skl2onnx")

ROWS = 1000


def data():
    """Rows of prices and the like, 3 classes; what float32 rounds is on both sides of splits."""
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(2 * ROWS, 6)) * [1, 10, 100, 1000, 1, 1], 2)
    y = (x[:, 0] > 0.25).astype(int) + (x[:, 1] + x[:, 2] / 10 > 3.14)
    return x, y


def estimators():
    from sklearn import ensemble, linear_model, pipeline, preprocessing, tree

    return {
        "tree": tree.DecisionTreeClassifier(random_state=0),
        "extra trees": ensemble.ExtraTreesClassifier(10, random_state=0),
        "forest": ensemble.RandomForestClassifier(10, random_state=0),
        "boosting": ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0),
        "histograms": ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=0),
        "ada": ensemble.AdaBoostClassifier(n_estimators=3, random_state=0),
        "scaled": pipeline.make_pipeline(
            preprocessing.StandardScaler(), linear_model.LogisticRegression()
        ),
    }


@pytest.mark.parametrize("name", estimators() if skl2onnx else ())
def test_a_classifier_with_maps_predicts_as_the_library_on_a_thousand_rows(tmp_path, name):
    x, y = data()
    estimator = estimators()[name].fit(x[:ROWS], y[:ROWS])
    (tmp_path / "in.onnx").write_bytes(
        skl2onnx.to_onnx(estimator, x[:1]).SerializeToString()  # ZipMap and float64
    )
    rewrite(tmp_path / "in.onnx", tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    label, probabilities = session.run(None, {session.get_inputs()[0].name: x[ROWS:]})
    expected = estimator.predict_proba(x[ROWS:])
    assert np.abs(probabilities - expected).max() < 1e-6
    clear = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] > 1e-6  # no ties
    assert (label == estimator.predict(x[ROWS:]))[clear].all()
