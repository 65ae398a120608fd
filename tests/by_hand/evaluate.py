"""Step 5: what is the model in service worth on customers that it has not seen?"""

import json
from pathlib import Path

import joblib
import pandas as pd
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

LAB = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    name = (LAB / "registry" / "current_model.txt").read_text().strip()
    entries = json.loads((LAB / "registry" / "metadata.json").read_text())
    seed = next(entry["seed"] for entry in entries if entry["model_file"] == name)
    rows = pd.read_csv(LAB / "data" / "processed.csv", keep_default_na=False)
    _, test = train_test_split(rows, test_size=0.2, random_state=seed, stratify=rows["churn"])
    model = joblib.load(LAB / "models" / name)
    said = model.predict_proba(test.drop(columns="churn"))[:, 1] >= 0.5
    print(classification_report(test["churn"], said, digits=4))
