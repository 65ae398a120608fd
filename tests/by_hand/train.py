"""Step 5: train a model, note what it is worth, and let it through the gate."""

import json
from datetime import UTC, datetime
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

LAB = Path(__file__).resolve().parents[1]
gate_f1 = 0.55
seed = 42


def read_list(path, otherwise):
    return json.loads(path.read_text()) if path.exists() else otherwise


def main():
    rows = pd.read_csv(LAB / "data" / "processed.csv", keep_default_na=False)
    train, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=rows["churn"])
    texts = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["plan_type", "region"]), remainder="passthrough"
    )
    forest = RandomForestClassifier(100, min_samples_leaf=5, class_weight="balanced", random_state=seed)
    model = make_pipeline(texts, forest).fit(train.drop(columns="churn"), train["churn"])
    probability = model.predict_proba(test.drop(columns="churn"))[:, 1]
    f1 = f1_score(test["churn"], probability >= 0.5)

    metadata, stats = LAB / "registry" / "metadata.json", LAB / "registry" / "train_stats.json"
    versions, now = read_list(metadata, []), datetime.now(UTC)
    number = len(versions) + 1
    name = f"churn_model_v{number}_{now:%Y%m%d_%H%M%S}.joblib"
    joblib.dump(model, LAB / "models" / name)
    entry = {"model_file": name, "version": number, "trained_at_utc": now.isoformat(), "data_file": "processed.csv"}
    entry |= {"seed": seed, "metrics": {"f1": f1, "roc_auc": roc_auc_score(test["churn"], probability)}}
    entry |= {"gate_f1": gate_f1, "passed_gate": bool(f1 >= gate_f1)}
    metadata.write_text(json.dumps([*versions, entry], indent=2))
    numbers = train.select_dtypes("number").drop(columns="churn")
    shape = {column: {"mean": numbers[column].mean(), "std": numbers[column].std()} for column in numbers}
    stats.write_text(json.dumps(read_list(stats, {}) | {name: shape}, indent=2))
    if f1 < gate_f1:
        raise SystemExit(f"F1 {f1:.3f} is below {gate_f1}: refused")
    (LAB / "registry" / "current_model.txt").write_text(name + "\n")
    print(f"{name}: F1 {f1:.3f}, in service")


if __name__ == "__main__":
    main()
