"""Step 7: answer customers with the model in service. Run it in the project's folder: uvicorn src.api:app"""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from uuid import uuid4

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

LAB = Path(__file__).resolve().parents[1]
app, models = FastAPI(), {}


class Customer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    tenure_months: int = Field(ge=0, le=600)
    num_complaints: int = Field(ge=0, le=1000)
    avg_session_minutes: float = Field(ge=0, le=1440)
    plan_type: Literal["basic", "premium"]
    region: Literal["NA", "EU", "AF", "AS"]
    request_id: str | None = None


def current_model():
    name = (LAB / "registry" / "current_model.txt").read_text().strip()
    if name not in models:
        models[name] = joblib.load(LAB / "models" / name)
    return name, models[name]


@app.get("/")
def home():
    return {"service": "churn", "try": "/docs"}


@app.get("/model-info")
def model_info():
    return {"model_file": current_model()[0]}


@app.post("/predict")
def predict(customer: Customer):
    started = time.perf_counter()
    name, model = current_model()
    features = customer.model_dump(exclude={"request_id"})
    probability = float(model.predict_proba(pd.DataFrame([features]))[0, 1])
    answer = {"request_id": customer.request_id or uuid4().hex, "model_version": name}
    answer |= {"prediction": int(probability >= 0.5), "probability": probability}
    answer["latency_ms"] = 1000 * (time.perf_counter() - started)
    now = datetime.now(UTC)
    with (LAB / "logs" / f"predictions-{now:%Y-%m-%d}.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(answer | {"features": features, "ts": now.timestamp()}) + "\n")
    return answer
