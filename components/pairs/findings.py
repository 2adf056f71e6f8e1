"""Names of findings and of parts that no annotation of the sample has: the parse-back looks for them too.

A text that names one which its record does not have has invented it. English to Chinese; a label of a source that
says more ("left pleural effusion") is understood by its last words. Words of many meanings ("mass", "stone") are
left out: they would refuse true texts.
"""

from __future__ import annotations

FINDINGS: dict[str, str] = {
    # chest
    "pneumothorax": "气胸", "pleural effusion": "胸腔积液", "effusion": "积液", "pneumonia": "肺炎",
    "consolidation": "实变", "atelectasis": "肺不张", "cardiomegaly": "心脏增大", "emphysema": "肺气肿",
    "pulmonary embolism": "肺栓塞", "pulmonary nodule": "肺结节", "lung nodule": "肺结节", "tuberculosis": "结核",
    "pericardial effusion": "心包积液", "bronchiectasis": "支气管扩张", "pneumoconiosis": "尘肺",
    "pleural thickening": "胸膜增厚", "hiatal hernia": "食管裂孔疝", "hernia": "疝",
    # bones and joints
    "fracture": "骨折", "dislocation": "脱位", "osteoarthritis": "骨关节炎", "osteoporosis": "骨质疏松",
    "scoliosis": "脊柱侧弯", "disc herniation": "椎间盘突出", "bone metastasis": "骨转移",
    "osteosarcoma": "骨肉瘤",
    # head
    "haemorrhage": "出血", "hemorrhage": "出血", "haematoma": "血肿", "hematoma": "血肿", "infarct": "梗死",
    "infarction": "梗死", "ischaemia": "缺血", "ischemia": "缺血", "aneurysm": "动脉瘤", "glioma": "胶质瘤",
    "meningioma": "脑膜瘤", "hydrocephalus": "脑积水", "pituitary adenoma": "垂体腺瘤", "adenoma": "腺瘤",
    "oedema": "水肿", "edema": "水肿",
    # abdomen and pelvis
    "cirrhosis": "肝硬化", "steatosis": "脂肪变性", "fatty liver": "脂肪肝", "hydronephrosis": "肾积水",
    "gallstone": "胆结石", "kidney stone": "肾结石", "pancreatitis": "胰腺炎", "appendicitis": "阑尾炎",
    "cholecystitis": "胆囊炎", "ascites": "腹水", "bowel obstruction": "肠梗阻", "diverticulum": "憩室",
    # vessels
    "stenosis": "狭窄", "thrombus": "血栓", "thrombosis": "血栓形成", "calcification": "钙化",
    # endoscopy, skin, eyes, tissue
    "polyp": "息肉", "ulcer": "溃疡", "oesophagitis": "食管炎", "esophagitis": "食管炎", "melanoma": "黑色素瘤",
    "naevus": "痣", "nevus": "痣", "keratosis": "角化病", "basal cell carcinoma": "基底细胞癌", "carcinoma": "癌",
    "adenocarcinoma": "腺癌", "lymphoma": "淋巴瘤", "sarcoma": "肉瘤", "metastasis": "转移灶", "cyst": "囊肿",
    "nodule": "结节", "abscess": "脓肿", "necrosis": "坏死", "fibrosis": "纤维化", "cancer": "癌症",
    "glaucoma": "青光眼", "cataract": "白内障", "drusen": "玻璃膜疣", "diabetic retinopathy": "糖尿病视网膜病变",
    "retinopathy": "视网膜病变", "macular degeneration": "黄斑变性", "macular edema": "黄斑水肿",
    "retinal detachment": "视网膜脱离", "exudate": "渗出", "haemangioma": "血管瘤", "hemangioma": "血管瘤",
    # parts of the body
    "thigh": "大腿", "forearm": "前臂", "elbow": "肘部", "wrist": "腕部", "jaw": "颌骨", "mandible": "下颌骨",
    "larynx": "喉", "tongue": "舌", "appendix": "阑尾", "ovary": "卵巢", "testis": "睾丸", "rectum": "直肠",
    "patella": "髌骨", "ulna": "尺骨",
}  # fmt: skip
