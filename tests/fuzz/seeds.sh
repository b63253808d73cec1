#!/usr/bin/env bash
# Writes tests/fuzz/corpus: the inputs that fuzzing starts from, valid and invalid ones that lie close
# to what the readers tell apart. Each target's source says what its inputs look like.
set -euo pipefail
cd "$(dirname "$0")/corpus"

# seed NAME FORMAT [ARGUMENT...]: the file NAME, as printf writes it.
seed() {
    local name=$1
    shift
    # shellcheck disable=SC2059
    printf "$@" >"$name"
}

# tensor DTYPE SHAPE BEGIN END
tensor() {
    printf '{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}' "$@"
}

rm -rf safetensors config gguf tokenizer
mkdir safetensors config gguf tokenizer

# --- safetensors ---

two=$(printf '{"__metadata__":{"format":"pt"},"a":%s,"b":%s}' \
    "$(tensor F32 2,3 0 24)" "$(tensor BF16 4 24 32)")
seed safetensors/two 'h\x20\x00%s' "$two"
size=$(printf '\\x%02x' ${#two})
seed safetensors/two-raw "r$size\x00\x00\x00\x00\x00\x00\x00%s%032d" "$two" 0
seed safetensors/none 'h\x00\x00{}'
seed safetensors/empty-tensor 'h\x00\x00{"a":%s}' "$(tensor F16 0,7 0 0)"
seed safetensors/scalar 'h\x04\x00{"a":%s}   ' "$(tensor I32 '' 0 4)"
seed safetensors/small-types 'h\x05\x00{"a":%s,"b":%s,"c":%s}' "$(tensor F4 2 0 1)" \
    "$(tensor F8_E4M3 3 1 4)" "$(tensor Q9 9 4 5)"
seed safetensors/overlap 'h\x0c\x00{"a":%s,"b":%s}' "$(tensor F32 2 0 8)" "$(tensor F32 2 4 12)"
seed safetensors/gap 'h\x0c\x00{"a":%s,"b":%s}' "$(tensor F32 1 0 4)" "$(tensor F32 1 8 12)"
seed safetensors/twice 'h\x08\x00{"a":%s,"a":%s}' "$(tensor F32 1 0 4)" "$(tensor F32 1 4 8)"
seed safetensors/outside 'h\x04\x00{"a":%s}' "$(tensor F32 9 0 36)"
seed safetensors/huge 'h\x04\x00{"a":%s}' "$(tensor F32 9223372036854775807,4 0 4)"
seed safetensors/long-header 'r\xff\xff\xff\xff\xff\xff\xff\xff{}'
layout='"vkmoe_layout":"1: groups of 32 in panels of 8 rows by 128 columns"'
seed safetensors/q8 'h\x40\x04{"__metadata__":{%s,"a":"Q8 5 70"},"a":%s}' "$layout" "$(tensor U8 1088 0 1088)"
seed safetensors/q4 'h\x02\x05{"__metadata__":{%s,"b":"Q4 9 128"},"a":%s,"b":%s}' "$layout" \
    "$(tensor BF16 1 0 2)" "$(tensor U8 1280 2 1282)"
seed safetensors/layout 'h\x40\x04{"__metadata__":{"vkmoe_layout":"2","a":"Q8 8 128"},"a":%s}' \
    "$(tensor U8 1088 0 1088)"
seed safetensors/index 'i{"metadata":{"total_size":5},"weight_map":{"a":"s","b":"s"}}'
seed safetensors/index-part 'i{"weight_map":{"b":"s"}}'
seed safetensors/index-wrong 'i{"weight_map":{"c":"s","a":"t","d":"../s"}}'

# --- GGUF ---

# number BYTES VALUE: little-endian, as printf writes it.
number() {
    local i
    for ((i = 0; i < $1; i++)); do printf '\\x%02x' $(($2 >> 8 * i & 255)); done
}
text() { number 8 ${#1} && printf '%s' "$1"; }
count() { text "$1" && number 4 4 && number 4 "$2"; }    # KEY VALUE
word() { text "$1" && number 4 8 && text "$2"; }         # KEY VALUE
list() { text "$1" && number 4 9 && number 4 "$2" && number 8 "$3"; } # KEY TYPE COUNT
matrix() { text "$1" && number 4 2 && number 8 "$2" && number 8 "$3" && number 4 "$4" && number 8 "$5"; }
# gguf NAME VERSION KEYS TENSORS REST: with 512 bytes of data.
gguf() {
    seed "gguf/$1" "GGUF$(number 4 "$2")$(number 8 "$4")$(number 8 "$3")$5%0512d" 0
}

shape=$(word general.architecture deepseek)
shape+=$(count deepseek.embedding_length 32)$(count deepseek.block_count 1)
shape+=$(count deepseek.attention.head_count 2)$(count deepseek.context_length 8)
shape+=$(count deepseek.feed_forward_length 32)$(count deepseek.vocab_size 4)
shape+=$(text deepseek.attention.layer_norm_rms_epsilon)$(number 4 6)$(number 4 0x38d1b717)
gguf empty 3 0 0 ''
gguf model 3 8 1 "$shape$(matrix token_embd.weight 32 4 8 0)"
gguf blocks 3 8 2 "$shape$(matrix blk.0.attn_q.weight 32 4 3 0)$(matrix blk.0.ffn_up.weight 32 4 2 96)"
gguf experts 3 10 1 "$shape$(count deepseek.expert_count 2)$(count deepseek.expert_used_count 1)$(
    text blk.0.ffn_up_exps.weight && number 4 3 && number 8 32 && number 8 1 && number 8 2
    number 4 20 && number 8 0)"
gguf tokenizer 2 6 0 "$(word tokenizer.ggml.model gpt2)$(word tokenizer.ggml.pre gpt-2)$(
    list tokenizer.ggml.tokens 8 4 && text a && text b && text ab && text '<s>')$(
    list tokenizer.ggml.token_type 5 4 && number 4 1 && number 4 1 && number 4 1 && number 4 3)$(
    list tokenizer.ggml.merges 8 1 && text 'a b')$(count tokenizer.ggml.bos_token_id 3)"
gguf chat 3 1 0 "$(word tokenizer.chat_template '<|im_start|><|im_end|>')"
gguf huge 3 1 0 "$(list k 8 0x7fffffffffffffff)"
gguf nested 3 1 0 "$(list k 9 1)$(number 4 9)$(number 8 1)$(number 4 0)$(number 8 2)"
gguf overlap 3 0 2 "$(matrix a 8 1 0 0)$(matrix b 8 1 0 0)"
gguf split 3 1 0 "$(count split.count 2)"

# --- configurations ---

moe='"model_type":"deepseek","vocab_size":100,"hidden_size":64,"intermediate_size":96,'
moe+='"moe_intermediate_size":40,"num_hidden_layers":3,"num_attention_heads":4,'
moe+='"n_shared_experts":2,"n_routed_experts":8,"num_experts_per_tok":3,"first_k_dense_replace":1'
seed config/moe 'kpj\x02\x10u{%s}' "$moe"
seed config/dense 'sss\x02\x10\x00{"vocab_size":3,"hidden_size":6,"intermediate_size":5,"num_hidden_layers":1,%s}' \
    '"num_attention_heads":3,"n_routed_experts":null,"n_shared_experts":null'
seed config/all 'kpj\x02\x10u{"architectures":["DeepseekForCausalLM"],%s,%s,%s}' "$moe" \
    '"num_key_value_heads":2,"moe_layer_freq":2,"norm_topk_prob":true,"scoring_func":"softmax"' \
    '"max_position_embeddings":512,"rms_norm_eps":1e-5,"rope_theta":1e4,"attention_bias":true'
seed config/rope 'sss\x02\x10\x00{%s,"rope_scaling":{"type":"dynamic","factor":2.5}}' "$moe"
seed config/rope-type 'sss\x02\x10\x00{%s,"rope_scaling":{"rope_type":"linear","factor":4}}' "$moe"
seed config/tokens 'kpj\x02\x10u{%s,"bos_token_id":1,"eos_token_id":[2,3],"pad_token_id":null}' "$moe"
seed config/other 'kpj\x02\x10u{%s,"architectures":["LlamaForCausalLM"],"hidden_act":"gelu"}' "$moe"
seed config/extreme 'kpj\x02\x10u{%s,"rope_theta":1e300,"rms_norm_eps":-1,"head_dim":0.5}' "$moe"
seed config/generation 'g{"do_sample":true,"temperature":0.8,"top_p":0.95,"top_k":5,"eos_token_id":1}'
seed config/generation-list 'g{"eos_token_id":[1,2,3,4,5,6,7,8],"temperature":null}'

# --- tokenizers: the file, a text, and a tokenizer_config.json ---

level='"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}'
vocab='"type":"BPE","vocab":{"a":0,"b":1,"c":2,"\xc4\xa0":3,"1":4,"ab":5,"abc":6,"\xc3\x83":7,'
vocab+='"\xc2\xa9":8,"\xc4\x8a":9,"aa":10,"aaaa":11}'
small="$vocab,\"merges\":[\"a b\",\"ab c\",\"a a\",[\"aa\",\"aa\"]]"
seed tokenizer/merges "{$level,\"model\":{$small}}\x00abcab aaaaa abc"
seed tokenizer/unknown "{$level,\"model\":{$small,\"unk_token\":\"c\",\"fuse_unk\":true}}\x00axyzb"
seed tokenizer/whole "{$level,\"model\":{$small,\"ignore_merges\":true}}\x00abc\xc3\xa9\n"
seed tokenizer/cycle "{$level,\"model\":{$vocab,\"merges\":[\"a a\",\"aa aa\",\"a a\"]}}\x00aaa"
seed tokenizer/gpt2 '{"pre_tokenizer":{"type":"ByteLevel"},"model":{%b}}\x00abc 1ab  c\n' "$small"
steps='{"type":"Split","pattern":{"Regex":"[\\r\\n]"},"behavior":"Isolated","invert":false},'
steps+='{"type":"Split","pattern":{"Regex":"\\s?\\p{L}+"},"behavior":"Isolated"},'
steps+='{"type":"Digits","individual_digits":true},{"type":"Split","pattern":{"String":" "},'
steps+='"behavior":"MergedWithNext"},{"type":"ByteLevel","use_regex":false}'
seed tokenizer/steps '{"pre_tokenizer":{"type":"Sequence","pretokenizers":[%s]},"model":{%b}}\x00%s' \
    "$steps" "$small" 'abc 11 a  b 1c'
odd='{"type":"Split","pattern":{"Regex":"\\b|(?=b)|a*$"},"behavior":"MergedWithPrevious"},'
odd+='{"type":"Split","pattern":{"Regex":"[^a]"},"behavior":"Contiguous","invert":true},'
odd+='{"type":"Split","pattern":{"String":"1"},"behavior":"Removed"},{"type":"ByteLevel"}'
seed tokenizer/odd-steps \
    '{"pre_tokenizer":{"type":"Sequence","pretokenizers":[%s]},"model":{%b}}\x00ab 1ba1 aab' "$odd" \
    "$small"
added='"added_tokens":[{"id":20,"content":"<s>","special":true},{"id":21,"content":"\xc3\xa9 ",'
added+='"normalized":true,"lstrip":true},{"id":22,"content":"ba","single_word":true,"rstrip":true}]'
seed tokenizer/added "{$level,$added,\"model\":{$small}}\x00<s>a\xc3\xa9  b ba  c\x00%s" \
    '{"bos_token":"<s>","eos_token":{"content":"ba"},"add_bos_token":true}'
seed tokenizer/normal '{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKD"},%s]},%s,%b}' \
    '{"type":"NFC"}' "$level" "\"model\":{$small,\"unk_token\":\"c\"}"
printf '\x00a\xcc\x81\xef\xac\x81' >>tokenizer/normal
template='"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}]}'
seed tokenizer/template "{$level,$added,$template,\"model\":{$small}}\x00<s>ab\x00%s" \
    '{"tokenizer_class":"LlamaTokenizerFast","bos_token":null}'
seed tokenizer/not-utf8 "{$level,\"model\":{$small}}\x00ab\xff\xc3"
seed tokenizer/other '{"model":{"type":"Unigram","vocab":[["a",0.5]]}}\x00a'
