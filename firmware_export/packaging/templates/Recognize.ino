// Checks the library on the board, then recognizes images sent over the serial line: EM_PIXELS bytes each, ink 255 on 0,
// row by row. Answers with the character and the mixture's confidence.
#include <edgemoe.h>

#include "vectors.h"

static em_word arena[EM_WORDS(EM_ARENA_PREDICT)];
static uint8_t image[EM_PIXELS];
static em *moe;

static void printCharacter(uint32_t codepoint) {
  if (codepoint < 128) {
    Serial.print((char)codepoint);
  } else {
    Serial.print("U+");
    Serial.print(codepoint, HEX);
  }
}

static em_status check(int &wrong) {
  em_answer answer;
  em_status status = em_init(&moe, arena, sizeof arena);
#if EM_VECTOR_PROFILE_BYTES > 0
  if (status == EM_OK) status = em_load(moe, em_vector_profile, EM_VECTOR_PROFILE_BYTES);
#endif
  for (int k = 0; k < EM_VECTORS && status == EM_OK; k++) {
    status = em_predict(moe, em_vector_image[k], &answer);
    if (status == EM_OK && answer.label != em_vector_label[k]) wrong++;
  }
  return status;
}

void setup() {
  Serial.begin(115200);
  int wrong = 0;
  em_status status = check(wrong);
  Serial.println(status == EM_OK && wrong == 0 ? "PASS" : "FAIL");
}

void loop() {
  em_answer answer;
  if (Serial.readBytes((char *)image, EM_PIXELS) < EM_PIXELS) return;
  if (em_predict(moe, image, &answer) != EM_OK) return;
  printCharacter(em_character(moe, answer.label));
  Serial.print(' ');
  Serial.println(answer.confidence);
}
