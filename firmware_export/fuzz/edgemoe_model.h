/* The sizes of an expert made up for the fuzzers: so small that they get to the end of a profile. */
#ifndef EDGEMOE_MODEL_H
#define EDGEMOE_MODEL_H

#define EM_CLASSES 3
#define EM_SPARE 3
#define EM_CHANNELS 2
#define EM_MAP_ROWS 3
#define EM_MAP_COLUMNS 5
#define EM_FEATURES 30
#define EM_POOLED 8
#define EM_QUARTER 6
#define EM_FEATURE_STEP 0.0125f
#define EM_FEATURE_SCALE 56.0f
#define EM_POOLED_SCALE 32.0f
#define EM_LOGIT_STEP 0.07f
#define EM_LOGIT_ZERO 120
#define EM_NETWORK_SCRATCH 64
#define EM_SAMPLES_MOST 1
#define EM_RETAINED 1
#define EM_RETAINED_TRAINING 1

#endif
